"""What was wrong with a signature: which secret made it, over what, and what to mend."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from ..conf import Secret, webhook_settings
from ..envelope import SIGNATURE_HEADER, hook_id_in
from ..models import Rejection
from .finding import Finding
from .sender import hook_in, proxies_in, signs_of_perfsee
from .trials import EMPTY, KeyChange, Match, Notation, find_match, is_readable

_STRANGER: Final = "It was not sent by Perfsee: then there is nothing to do."

_KEY_ADVICE: Final[Mapping[KeyChange, str]] = {
    KeyChange.STRIPPED: "Remove the white space from the secret in this site's setting.",
    KeyChange.UNQUOTED: "Remove the quotes from the secret in this site's setting.",
    KeyChange.WITH_LINE_END: (
        "The secret in Perfsee ends with a line end: set it there anew, without one."
    ),
}
_BODY_ADVICE: Final = (
    "Something between Perfsee and this site rewrites bodies: have it hand on the exact bytes. "
    "What arrived cannot be accepted, since nobody signed it."
)
_NOTATION_ADVICE: Final = (
    "Perfsee writes 'sha256=' and 64 hexadecimal digits: see what rewrites the header on its way, "
    "or which other program sent the request."
)


def unsigned(headers: Mapping[str, str]) -> Finding:
    """Say why a request may have come without a signature."""
    if webhook_settings.allow_unsigned:
        return Finding(
            what="The request has no signature, and this site allows that now.",
            advice="Nobody vouches for it: anyone can send such a request.",
            is_good=True,
        )
    not_set = "The hook has no secret in Perfsee: set one there, the same as here."
    dropped = f"A proxy dropped the {SIGNATURE_HEADER} header: have it hand the header on."
    signs = signs_of_perfsee(headers)
    if not signs:
        return Finding(
            what="The request has no signature, and nothing in it looks like Perfsee's.",
            causes=(_STRANGER, not_set, dropped + proxies_in(headers)),
        )
    return Finding(
        what=f"The request has no signature, but looks like Perfsee's: it has {signs}.",
        causes=(not_set, dropped + proxies_in(headers), _STRANGER),
    )


def signature(rejection: Rejection, body: bytes) -> Iterator[Finding]:
    """Yield what is known about a signature, by trying each secret over each likely body."""
    headers = rejection.headers
    valid, known = secrets_of(headers)
    match = find_match(body, headers[SIGNATURE_HEADER], known)
    if match is None:
        yield _no_match(headers)
    elif match.secret == EMPTY:
        yield Finding(
            what=_told(match),
            advice="Anyone can sign with it, so that it is never accepted: set a secret for the "
            "hook in Perfsee, the same as here.",
        )
    elif match.secret not in valid:
        advice = (
            "If the hook is yours, put the secret into its SECRETS in HOOKS, or into SECRETS for "
            "any hook."
        )
        yield Finding(
            what=f"{_told(match)} The request says that it comes from {hook_in(headers)}, for "
            "which that secret is not valid.",
            advice=" ".join((advice, *_advice(match))),
        )
    elif match.is_exact:
        yield from _verified(match, was_verified=bool(rejection.verified_by))
    else:
        yield Finding(what=_told(match), advice=" ".join(_advice(match)))


def secrets_of(headers: Mapping[str, str]) -> tuple[list[Secret], list[Secret]]:
    """Return the secrets valid for the hook, and every one, with those valid for it first.

    One and the same secret may be set for several hooks: it is named where it counts.
    """
    valid = webhook_settings.secrets_for(hook_id_in(headers))
    return valid, list(dict.fromkeys([*valid, *webhook_settings.all_secrets()]))


def _verified(match: Match, *, was_verified: bool) -> Iterator[Finding]:
    yield Finding(
        what=_told(match) if was_verified else f"{_told(match)} The cause is mended.",
        advice=""
        if was_verified
        else "If requests like it are refused still, restart the processes of this site that run "
        "with the settings of before.",
        is_good=True,
    )
    if not match.secret.is_newest:
        yield Finding(
            what=f"{match.secret.label} is a previous secret, and the sender still signs with it.",
            advice="Set the newest secret for the hook in Perfsee before you remove this one here.",
        )


def _told(match: Match) -> str:
    """Say what made a signature."""
    parts = [f"The signature was made with {match.secret.label}"]
    if match.key_change:
        parts.append(match.key_change)
    if match.body_change:
        parts.append(f"over the body {match.body_change}")
    sentence = " ".join(parts)
    return f"{sentence}, and is written {match.notation}." if match.notation else f"{sentence}."


def _advice(match: Match) -> Iterator[str]:
    if match.key_change:
        yield _KEY_ADVICE[match.key_change]
    if match.body_change:
        yield _BODY_ADVICE
    if match.notation is not Notation.PERFSEE:
        yield _NOTATION_ADVICE


def _no_match(headers: Mapping[str, str]) -> Finding:
    if not is_readable(headers[SIGNATURE_HEADER]):
        return Finding(
            what="The signature header holds no SHA-256 digest in any notation.",
            causes=(
                _STRANGER,
                f"A proxy rewrote the header: have it hand it on.{proxies_in(headers)}",
            ),
        )
    differs = "The hook has another secret in Perfsee: set it anew, the same there and here."
    changed = (
        "A proxy changed the body in a way that was not tried: have it hand on the exact bytes."
    )
    likely = (differs, changed + proxies_in(headers))
    return Finding(
        what="No secret of this site made the signature: not as it is, nor with a usual mistake "
        "in the secret, the body or the header.",
        causes=(*likely, _STRANGER) if signs_of_perfsee(headers) else (_STRANGER, *likely),
    )

"""What was wrong with a refused request, found out by trying, and what a person can do about it.

Nothing here shows a secret or a digest: a secret is named by its place in the setting.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from django.template.defaultfilters import filesizeformat

from .conf import Secret, webhook_settings
from .envelope import (
    DELIVERY_HEADER,
    EVENT_HEADER,
    HOOK_ID_HEADER,
    HOOK_PROJECT_HEADER,
    MAX_NAME_LENGTH,
    SIGNATURE_HEADER,
    UNSIGNED,
    delivery_id_in,
    hook_id_in,
    is_allowed,
    projects_named_in,
    require_event,
)
from .exceptions import MalformedRequest, RequestRefused
from .models import Delivery, Rejection
from .text import one_line
from .trials import EMPTY, KeyChange, Match, Notation, find_match, is_readable
from .verification import verify_request

_PERFSEE_AGENT: Final = "Perfsee-Hookshot/"
_PERFSEE_HEADERS: Final = (DELIVERY_HEADER, EVENT_HEADER, HOOK_ID_HEADER, HOOK_PROJECT_HEADER)
_PROXY_HEADERS: Final = ("Via", "Forwarded", "X-Forwarded-For")
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was found out: what it is, what to do, and where it is not sure, the causes.

    The causes are the likely ones, the likeliest first. `is_good` says that nothing is left to
    do; `delivery` is the one to look at.
    """

    what: str
    advice: str = ""
    causes: tuple[str, ...] = ()
    is_good: bool = False
    delivery: Delivery | None = None


def diagnose(rejection: Rejection, known: Delivery | None = None) -> list[Finding]:
    """Return what was wrong with a refused request, by its bytes and the settings of now.

    `known` is the delivery that has its id, if there is one.
    """
    return list(_findings(rejection, known))


def _findings(rejection: Rejection, known: Delivery | None) -> Iterator[Finding]:
    headers, body = rejection.headers, bytes(rejection.body)
    verified_by = _verified_by(rejection, body)
    is_signed = verified_by not in ("", UNSIGNED)
    is_whole = is_signed or not (rejection.is_cut or _is_broken_off(rejection, body))
    if not (verified_by or any(secret.key for secret in _secrets(headers)[0])):
        yield Finding(
            what=f"This site has no secret for {_hook_in(headers)}.",
            advice="Put the secret that the hook has in Perfsee into SECRETS, or into the SECRETS "
            "of the hook in HOOKS.",
        )
    if rejection.is_cut:
        yield _cut(rejection)
    elif not is_whole:
        yield Finding(
            what="The body broke off on its way, so that no secret could be tried.",
            advice="See what closed the connection: a limit of a proxy, or a restart of this "
            "site's server. Perfsee does not send it again.",
        )
    elif SIGNATURE_HEADER in headers:
        yield from _signature(rejection, body)
    if SIGNATURE_HEADER not in headers:
        yield _unsigned(headers)
    if verified_by and is_whole:
        yield from _project(rejection, body)
        if not is_signed:
            yield from _unsigned_event(body)
    yield from _unusable_id(rejection, is_signed=is_signed)
    yield from _known(rejection, known, hashlib.sha256(body).hexdigest() if is_whole else "")


def _verified_by(rejection: Rejection, body: bytes) -> str:
    """Return what vouches for a request now; empty text for nothing."""
    try:
        return "" if rejection.is_cut else verify_request(body, rejection.headers)
    except RequestRefused:
        return ""


def _cut(rejection: Rejection) -> Finding:
    size, limit = rejection.body_size, webhook_settings.max_body_bytes
    if rejection.reason == Rejection.Reason.TOO_LARGE:
        return Finding(
            what=f"The body was too large: {size:,} bytes, while {limit:,} are taken now.",
            advice="Nothing of it was kept, and Perfsee does not send it again. If it was "
            "Perfsee's, see that MAX_BODY_BYTES has room for the next one.",
        )
    return Finding(
        what=f"Only the first {filesizeformat(len(rejection.body))} of the body are kept, so that "
        "no secret could be tried.",
        advice="A body that nobody signed is cut. If Perfsee sent it, mend the secret for the "
        "next one.",
    )


def _is_broken_off(rejection: Rejection, body: bytes) -> bool:
    """Say whether bytes of the body never came, or came no further than the server."""
    if rejection.reason == Rejection.Reason.MALFORMED and not rejection.verified_by:
        return True  # nothing else is found malformed before it is verified
    declared = rejection.headers.get("Content-Length", "")
    return bool(re.fullmatch("[0-9]{1,18}", declared)) and int(declared) > len(body)


def _unsigned(headers: Mapping[str, str]) -> Finding:
    if webhook_settings.allow_unsigned:
        return Finding(
            what="The request has no signature, and this site allows that now.",
            advice="Nobody vouches for it: anyone can send such a request.",
            is_good=True,
        )
    not_set = "The hook has no secret in Perfsee: set one there, the same as here."
    dropped = f"A proxy dropped the {SIGNATURE_HEADER} header: have it hand the header on."
    signs = _signs_of_perfsee(headers)
    if not signs:
        return Finding(
            what="The request has no signature, and nothing in it looks like Perfsee's.",
            causes=(_STRANGER, not_set, dropped + _proxies_in(headers)),
        )
    return Finding(
        what=f"The request has no signature, but looks like Perfsee's: it has {signs}.",
        causes=(not_set, dropped + _proxies_in(headers), _STRANGER),
    )


def _signature(rejection: Rejection, body: bytes) -> Iterator[Finding]:
    headers = rejection.headers
    valid, known = _secrets(headers)
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
            what=f"{_told(match)} The request says that it comes from {_hook_in(headers)}, for "
            "which that secret is not valid.",
            advice=" ".join((advice, *_advice(match))),
        )
    elif match.is_exact:
        yield from _verified(match, was_verified=bool(rejection.verified_by))
    else:
        yield Finding(what=_told(match), advice=" ".join(_advice(match)))


def _secrets(headers: Mapping[str, str]) -> tuple[list[Secret], list[Secret]]:
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
                f"A proxy rewrote the header: have it hand it on.{_proxies_in(headers)}",
            ),
        )
    differs = "The hook has another secret in Perfsee: set it anew, the same there and here."
    changed = (
        "A proxy changed the body in a way that was not tried: have it hand on the exact bytes."
    )
    likely = (differs, changed + _proxies_in(headers))
    return Finding(
        what="No secret of this site made the signature: not as it is, nor with a usual mistake "
        "in the secret, the body or the header.",
        causes=(*likely, _STRANGER) if _signs_of_perfsee(headers) else (_STRANGER, *likely),
    )


def _project(rejection: Rejection, body: bytes) -> Iterator[Finding]:
    patterns = webhook_settings.projects_for(hook_id_in(rejection.headers))
    slugs = projects_named_in(body)
    was_refused = rejection.reason == Rejection.Reason.PROJECT_NOT_ALLOWED
    if patterns is None or (slugs and all(is_allowed(slug, patterns) for slug in slugs)):
        if was_refused:
            yield Finding(what="The project that it is about is allowed now.", is_good=True)
        return
    named = _listed(sorted(slugs)) if slugs else "no project"
    place = f"HOOKS[{hook_id_in(rejection.headers)!r}].PROJECTS"
    yield Finding(
        what=f"The body names {named}, while {place} allows {_listed(patterns) or 'none'}.",
        advice="Put a pattern for it into PROJECTS, if this site is to take it from that hook.",
    )


def _unsigned_event(body: bytes) -> Iterator[Finding]:
    try:
        require_event(body)
    except MalformedRequest as error:
        yield Finding(what=str(error), advice="An unsigned request has to be a whole event.")


def _unusable_id(rejection: Rejection, *, is_signed: bool) -> Iterator[Finding]:
    try:
        delivery_id_in(rejection.headers)
    except MalformedRequest as error:
        accepted = f" Once accepted it has the id rejection-{rejection.pk}." if is_signed else ""
        yield Finding(
            what=str(error),
            advice=f"See what drops or rewrites headers on their way.{accepted}",
        )


def _known(rejection: Rejection, known: Delivery | None, body_sha256: str) -> Iterator[Finding]:
    """Compare with the delivery that has its id; `body_sha256` is empty for a part of a body."""
    if known is None:
        if rejection.reason == Rejection.Reason.CONFLICT:
            yield Finding(what="The delivery that had its id then is no longer kept.", is_good=True)
    elif not body_sha256:
        yield Finding(
            what="Its delivery id is stored, with this body or another one: too little of it is "
            "kept to tell.",
            delivery=known,
        )
    elif known.body_sha256 == body_sha256:
        yield Finding(what="The same delivery is stored already.", delivery=known, is_good=True)
    else:
        yield Finding(
            what="Its delivery id is stored with another body.",
            advice="Perfsee gives each event an id of its own: compare the two bodies, to see "
            "which one is Perfsee's.",
            delivery=known,
        )


def _signs_of_perfsee(headers: Mapping[str, str]) -> str:
    """Say what in the headers points to Perfsee; empty text if nothing does."""
    agent = headers.get("User-Agent", "")
    named = [f"the User-Agent {one_line(agent, 40)}"] if agent.startswith(_PERFSEE_AGENT) else []
    return ", ".join([*named, *(name for name in _PERFSEE_HEADERS if name in headers)])


def _proxies_in(headers: Mapping[str, str]) -> str:
    names = ", ".join(name for name in _PROXY_HEADERS if name in headers)
    return f" The request came by way of one, as its headers say ({names})." if names else ""


def _hook_in(headers: Mapping[str, str]) -> str:
    hook_id = hook_id_in(headers)
    return f"the hook {hook_id!r}" if hook_id else "a request that names no hook"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(repr(one_line(name, MAX_NAME_LENGTH)) for name in names)

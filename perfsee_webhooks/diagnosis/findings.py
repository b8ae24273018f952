"""All that was wrong with a refused request, by its bytes and the settings of now."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator

from django.template.defaultfilters import filesizeformat

from ..conf import webhook_settings
from ..envelope import (
    MAX_NAME_LENGTH,
    SIGNATURE_HEADER,
    UNSIGNED,
    delivery_id_in,
    hook_id_in,
    is_allowed,
    projects_named_in,
    require_event,
)
from ..exceptions import MalformedRequest, RequestRefused
from ..models import Delivery, Rejection
from ..text import one_line
from ..verification import verify_request
from .finding import Finding
from .sender import hook_in
from .signature import secrets_of, signature, unsigned


def diagnose(
    rejection: Rejection, known: Delivery | None = None, first: Delivery | None = None
) -> list[Finding]:
    """Return what was wrong with a refused request, by its bytes and the settings of now.

    `known` is the delivery that has its id, `first` the first one with its body under another id.
    """
    return list(_findings(rejection, known, first))


def _findings(
    rejection: Rejection, known: Delivery | None, first: Delivery | None
) -> Iterator[Finding]:
    headers, body = rejection.headers, bytes(rejection.body)
    verified_by = _verified_by(rejection, body)
    is_signed = verified_by not in ("", UNSIGNED)
    is_whole = is_signed or not (rejection.is_cut or _is_broken_off(rejection, body))
    if not (verified_by or any(secret.key for secret in secrets_of(headers)[0])):
        yield Finding(
            what=f"This site has no secret for {hook_in(headers)}.",
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
        yield from signature(rejection, body)
    if SIGNATURE_HEADER not in headers:
        yield unsigned(headers)
    if verified_by and is_whole:
        yield from _project(rejection, body)
        if not is_signed:
            yield from _unsigned_event(body)
    yield from _unusable_id(rejection, is_signed=is_signed)
    if rejection.reason == Rejection.Reason.SAME_BODY:
        yield Finding(
            what="The very same body had come under another delivery id.",
            advice="Perfsee gives each event an id of its own: somebody may have read that "
            "delivery on its way and sent it again. If Perfsee sent both, accept this one, or "
            "replay the other.",
            delivery=first,
        )
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


def _listed(names: Iterable[str]) -> str:
    return ", ".join(repr(one_line(name, MAX_NAME_LENGTH)) for name in names)

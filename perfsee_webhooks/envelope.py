"""What the app keeps of a request: read from its headers and its body, before any database.

The body is the truth, since only the body is signed. Of the headers only the delivery id is
relied on, for it stands nowhere else; the others are kept to be looked at.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any, Final, NoReturn

from django.http.request import HttpHeaders
from django.utils import timezone

from . import events
from .exceptions import MalformedRequest, ProjectNotAllowed
from .payloads import Event, read_event, values
from .summaries import subject_of, summary_of
from .text import one_line

UNSIGNED: Final = "unsigned"

MAX_DELIVERY_ID_LENGTH: Final = 128
MAX_NAME_LENGTH: Final = 100
MAX_REF_LENGTH: Final = 200
_MAX_HEADER_LENGTH: Final = 500

DELIVERY_HEADER: Final = "X-Perfsee-Delivery"
EVENT_HEADER: Final = "X-Perfsee-Event"
HOOK_ID_HEADER: Final = "X-Perfsee-Hook-ID"
HOOK_PROJECT_HEADER: Final = "X-Perfsee-Hook-Project"
SIGNATURE_HEADER: Final = "X-Perfsee-Signature-256"

# Only these are kept: what Perfsee sends and what a proxy adds on the way. A list of what is
# secret (cookies, authorization, keys of gateways) could never be complete.
KEPT_HEADERS: Final = (
    DELIVERY_HEADER,
    EVENT_HEADER,
    HOOK_ID_HEADER,
    HOOK_PROJECT_HEADER,
    SIGNATURE_HEADER,
    "Accept",
    "Content-Length",
    "Content-Type",
    "Forwarded",
    "Host",
    "Traceparent",
    "Transfer-Encoding",
    "User-Agent",
    "Via",
    "X-Forwarded-For",
    "X-Forwarded-Proto",
    "X-Request-ID",
)

# Visible ASCII that is safe as a file name, in an address and in a log. Perfsee sends UUIDs.
_DELIVERY_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z._:~=+@-]*")

_META_KEYS: Final = tuple((name, HttpHeaders.to_wsgi_name(name)) for name in KEPT_HEADERS)


def kept_headers(meta: Mapping[str, Any]) -> dict[str, str]:
    """Return the headers worth keeping of a request's `META`, each one line of fit text."""
    return {
        name: one_line(_as_utf8(str(meta[key])), _MAX_HEADER_LENGTH)
        for name, key in _META_KEYS
        if meta.get(key)
    }


def hook_id_in(headers: Mapping[str, str]) -> str:
    """Return the id of the hook that a request says it comes from, which nobody has signed."""
    return one_line(headers.get(HOOK_ID_HEADER, ""), MAX_NAME_LENGTH)


def parse_body(body: bytes) -> Event:
    """Return the event of a body.

    JSON is taken strictly: UTF-8 without a byte order mark, no NaN or Infinity.

    Raises:
        ValueError: the body is no JSON object, is nested too deeply to be read, or holds a whole
            number of more digits than Python takes (4,300).
    """
    try:
        value = _JSON.decode(body.decode())
    except RecursionError as error:
        raise ValueError("The body is nested too deeply to be read.") from error
    if not isinstance(value, dict):
        raise ValueError("The body is JSON, but no object.")  # noqa: TRY004  # a value of the body
    return read_event(value)


def readable_event(body: bytes) -> Event:
    """Return the event of a body, an unknown one for a body that cannot be read."""
    try:
        return parse_body(body)
    except ValueError:
        return Event()


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A verified request, as it is stored: the exact bytes, and the columns to find them by."""

    delivery_id: str
    event_type: str
    project: str
    hook_id: str
    branch: str
    commit_hash: str
    summary: str
    subject: str
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    body_sha256: str
    verified_by: str
    received_at: datetime

    @classmethod
    def read(cls, body: bytes, headers: Mapping[str, str], verified_by: str) -> Envelope:
        """Return the envelope of a request.

        `headers` are the `kept_headers`; `verified_by` is the label of the secret that signed the
        body, or `UNSIGNED`. The signature itself is not kept: with the body beside it, it would
        let whoever reads the table guess a short secret, or send the body again.

        Raises:
            MalformedRequest: the delivery id is missing or unusable, or the body cannot be read
                and nobody has signed it. What Perfsee signed is never refused for its content.
        """
        event = readable_event(body) if verified_by != UNSIGNED else require_event(body)
        branch, commit_hash = _built_or_measured(event)
        return cls(
            delivery_id=delivery_id_in(headers),
            event_type=one_line(event.type, MAX_NAME_LENGTH),
            project=one_line(event.project_slug or "", MAX_NAME_LENGTH),
            hook_id=hook_id_in(headers),
            branch=one_line(branch or "", MAX_REF_LENGTH),
            commit_hash=one_line(commit_hash or "", MAX_REF_LENGTH),
            summary=summary_of(event),
            subject=subject_of(event),
            headers={name: headers[name] for name in headers if name != SIGNATURE_HEADER},
            body=body,
            body_sha256=hashlib.sha256(body).hexdigest(),
            verified_by=one_line(verified_by, MAX_REF_LENGTH),
            received_at=timezone.now(),
        )

    def require_project(self, patterns: Sequence[str] | None) -> None:
        """Refuse the body if it speaks of a project that no pattern allows; None allows any.

        A body may name its project twice, in the answer and in the variables of the query: both
        have to be allowed, and one that names none is not.

        Raises:
            ProjectNotAllowed: it does, or it names no project at all.
        """
        if patterns is None:
            return
        slugs = projects_named_in(self.body)
        if not slugs or not all(is_allowed(slug, patterns) for slug in slugs):
            raise ProjectNotAllowed(
                "The body is about a project that this site does not accept from the hook: "
                "see PROJECTS in its HOOKS setting."
            )


def projects_named_in(body: bytes) -> set[str]:
    """Return the projects that a body names, in the answer and in the variables of the query."""
    return set(readable_event(body).named_projects)


def is_allowed(slug: str, patterns: Sequence[str]) -> bool:
    """Say whether a pattern of `PROJECTS` allows a project."""
    return any(fnmatchcase(slug, pattern) for pattern in patterns)


def require_event(body: bytes) -> Event:
    """Return the event of a body that nobody has signed.

    Raises:
        MalformedRequest: it is no JSON object, or names no event.
    """
    try:
        event = parse_body(body)
    except ValueError as error:
        raise MalformedRequest("The unsigned body is not a JSON object.") from error
    if event.type == events.UNKNOWN:
        raise MalformedRequest("The unsigned body has no 'eventType'.")
    return event


def delivery_id_in(headers: Mapping[str, str]) -> str:
    """Return the delivery's id.

    Raises:
        MalformedRequest: it is missing, too long, or holds more than letters, digits and signs.
    """
    delivery_id = headers.get(DELIVERY_HEADER)
    if not delivery_id:
        raise MalformedRequest(f"The request has no {DELIVERY_HEADER} header.")
    if len(delivery_id) > MAX_DELIVERY_ID_LENGTH or not _DELIVERY_ID.fullmatch(delivery_id):
        raise MalformedRequest(
            f"The {DELIVERY_HEADER} header is not one id of at most {MAX_DELIVERY_ID_LENGTH} "
            "letters, digits and the signs . _ : ~ = + @ -"
        )
    return delivery_id


def _built_or_measured(event: Event) -> tuple[str | None, str | None]:
    """Return the branch and the commit that an event is about, one of an unknown event too."""
    artifact = values.mapping(event.project.raw.get("artifact"))
    snapshot = values.mapping(event.project.raw.get("snapshot"))
    return values.text(artifact.get("branch")), values.text((artifact or snapshot).get("hash"))


def _as_utf8(value: str) -> str:
    """Undo the Latin-1 in which WSGI and ASGI hand over the bytes of a header."""
    if value.isascii():
        return value
    try:
        return value.encode("latin-1").decode(errors="replace")
    except UnicodeEncodeError:
        return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON.")


_JSON: Final = json.JSONDecoder(parse_constant=_refuse_constant)

"""A signed request of the site to itself, through its URLs and its middleware, and taken back.

It is handled as one from a server is, but its answer is never closed: so nothing is processed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final
from urllib.parse import unquote, urlsplit
from wsgiref.util import setup_testing_defaults

from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler, WSGIRequest
from django.db import router, transaction
from django.http import HttpResponseBase
from django.http.request import HttpHeaders
from django.urls import NoReverseMatch, reverse

from ..conf import Secret, webhook_settings
from ..envelope import DELIVERY_HEADER, is_allowed
from ..exceptions import NotStored
from ..models import Delivery
from ..sending import perfsee_headers
from .result import Result, bad, good

_TOPIC: Final = "request"
_REDIRECTS: Final = (301, 302, 303, 307, 308)

# An event that no receiver is for, but those of every event; none of them is run.
EVENT: Final = "doctor:probe"

_ADVICE: Final = {
    204: "Something else answers in the receiver's place: nothing was stored.",
    400: "See that ALLOWED_HOSTS names the host that Perfsee sends to; --host tries another one.",
    403: "A middleware refuses it before the receiver does: let the receiver's address through.",
    404: "A middleware, or another entry of the URLs, comes before the receiver.",
}
_LOG: Final = "See the log of this site for what it did with it."
_BY_RECEIVER: Final = (
    "The receiver itself says so: see the PERFSEE_WEBHOOKS setting, and what middleware makes of "
    "the request."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """Who sends: a secret, a hook that it is valid for, a project that the hook may speak of.

    The secret is None for one that signs nothing.
    """

    secret: Secret | None
    hook_id: str
    project: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the site answered itself, and whether the delivery was in the database by then."""

    status: int
    reason: str
    location: str
    is_stored: bool


def examine_request(host: str | None) -> Iterator[Result]:
    """Yield whether a signed delivery gets through to the database, at first over http."""
    try:
        path = reverse("perfsee_webhooks:receive")
    except NoReverseMatch:
        yield bad(
            _TOPIC,
            "The receiver has no address in this site's URLs.",
            'Add path("perfsee/", include("perfsee_webhooks.urls")) to the URLs.',
        )
        return
    sender = next(_senders(), None)
    if sender is None:
        yield bad(
            _TOPIC,
            "There is no secret to sign with, or none of a hook that may speak of a project.",
            "Set SECRETS of PERFSEE_WEBHOOKS, and PROJECTS of its HOOKS where they are limited.",
        )
        return
    host = host or _allowed_host()
    answer = _ask(f"http://{host}{path}", sender)
    if answer.status in _REDIRECTS and urlsplit(answer.location).scheme == "https":
        yield good(_TOPIC, f"http is redirected to {answer.location}: that is what Perfsee needs.")
        answer = _ask(answer.location, sender)
    yield _judged(answer, host, is_signed=sender.secret is not None)


def _judged(answer: Answer, host: str, *, is_signed: bool) -> Result:
    delivery = f"{'A signed' if is_signed else 'An unsigned'} delivery to {host}"
    if answer.status == 204 and answer.is_stored:
        done = "verified and stored" if is_signed else "stored"
        return good(_TOPIC, f"{delivery} was {done}, and taken back.")
    said = f"{delivery} was answered {answer.status}"
    if answer.location:
        return bad(
            _TOPIC,
            f"{said}, a redirect to {answer.location}.",
            "Perfsee turns a POST that is redirected into a GET. Enter an address in Perfsee that "
            "is answered without one, and let no login be asked for there.",
        )
    if answer.reason:
        advice = _LOG if answer.status == NotStored.status else _BY_RECEIVER
        return bad(_TOPIC, f"{said}: {answer.reason}", advice)
    return bad(_TOPIC, f"{said}.", _ADVICE.get(answer.status, _LOG))


def _senders() -> Iterator[Sender]:
    """Yield who may send something: with each secret, or with none where the site takes that."""
    for hook_id in ("", *webhook_settings.hooks):
        patterns = webhook_settings.projects_for(hook_id)
        projects = ["doctor"] if patterns is None else [_named_by(text) for text in patterns]
        for secret in webhook_settings.secrets_for(hook_id):
            for project in projects:
                if secret.key and (patterns is None or is_allowed(project, patterns)):
                    yield Sender(secret=secret, hook_id=hook_id, project=project)
    if webhook_settings.allow_unsigned:
        yield Sender(secret=None, hook_id="", project="doctor")


def _named_by(pattern: str) -> str:
    """Return a name that a pattern of `PROJECTS` is likely to allow."""
    return re.sub(r"\[([^]!])[^]]*\]", r"\1", pattern).replace("*", "x")


def _allowed_host() -> str:
    """Return a name that the site answers to."""
    for name in settings.ALLOWED_HOSTS:
        if name != "*":
            return f"www{name}" if name.startswith(".") else str(name)
    return "localhost"


def _ask(url: str, sender: Sender) -> Answer:
    """Have the site answer a signed delivery, and take back what it stored."""
    variables = {
        "eventType": EVENT,
        "payload": {"data": None, "variables": {"projectSlug": sender.project}},
    }
    body = json.dumps(variables).encode().ljust(_size())
    key = sender.secret.key.decode() if sender.secret else None
    headers = perfsee_headers(body, key, hook_id=sender.hook_id)
    request = WSGIRequest(_environ(url, body, headers))
    database = router.db_for_write(Delivery)
    with transaction.atomic(using=database):
        response = WSGIHandler().get_response(request)
        stored = Delivery.objects.using(database).filter(delivery_id=headers[DELIVERY_HEADER])
        is_stored = stored.exists()
        transaction.set_rollback(True, using=database)
    return Answer(
        status=response.status_code,
        reason=_reason_in(response),
        location=response.headers.get("Location", ""),
        is_stored=is_stored,
    )


def _size() -> int:
    """Return a size of a body that a middleware which has Django read it would refuse."""
    limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE or 0
    return min(limit + 1, webhook_settings.max_body_bytes)


def _environ(url: str, body: bytes, headers: Mapping[str, str]) -> dict[str, Any]:
    """Return what a server, or the proxy before it, makes of a request."""
    parts = urlsplit(url)
    environ: dict[str, Any] = {
        "REQUEST_METHOD": "POST",
        "HTTP_HOST": parts.netloc,
        "PATH_INFO": unquote(parts.path).encode().decode("latin-1"),
        "REMOTE_ADDR": "127.0.0.1",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": BytesIO(body),
        "wsgi.url_scheme": parts.scheme,
    }
    environ |= {HttpHeaders.to_wsgi_name(name): value for name, value in headers.items()}
    if parts.scheme == "https" and settings.SECURE_PROXY_SSL_HEADER:
        name, value = settings.SECURE_PROXY_SSL_HEADER
        environ[name] = value
    setup_testing_defaults(environ)
    return environ


def _reason_in(response: HttpResponseBase) -> str:
    """Return the reason that the receiver gives as JSON; empty if somebody else has answered."""
    try:
        return str(json.loads(getattr(response, "content", b""))["reason"])
    except (ValueError, KeyError, TypeError):
        return ""

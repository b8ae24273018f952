"""A signed request of the site to itself, through its URLs and its middleware, and taken back.

It is handled as one from a server is, but its answer is never closed: so nothing is processed.
"""

from __future__ import annotations

import json
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
from ..envelope import DELIVERY_HEADER
from ..models import Delivery
from ..sending import perfsee_headers
from .result import Result, bad, good

_TOPIC: Final = "request"
_REDIRECTS: Final = (301, 302, 303, 307, 308)

# An event that no receiver is for, but those of every event; none of them is run.
EVENT: Final = "doctor:probe"

_ADVICE: Final = {
    400: "See that ALLOWED_HOSTS names the host that Perfsee sends to; --host tries another one.",
    403: "A middleware refuses it before the receiver does: let the receiver's address through.",
    404: "A middleware, or another entry of the URLs, comes before the receiver.",
    503: "See the log of this site for why the database did not take it.",
}


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
    signer = _signer()
    if signer is None:
        yield bad(_TOPIC, "There is no secret to sign with.", "Set SECRETS of PERFSEE_WEBHOOKS.")
        return
    host = host or _allowed_host()
    answer = _ask(f"http://{host}{path}", *signer)
    if answer.status in _REDIRECTS and urlsplit(answer.location).scheme == "https":
        yield good(_TOPIC, f"http is redirected to {answer.location}: that is what Perfsee needs.")
        answer = _ask(answer.location, *signer)
    yield _judged(answer, host)


def _judged(answer: Answer, host: str) -> Result:
    if answer.status == 204 and answer.is_stored:
        return good(_TOPIC, f"A signed delivery to {host} was verified and stored, and taken back.")
    said = f"A signed delivery to {host} was answered {answer.status}"
    if answer.location:
        return bad(
            _TOPIC,
            f"{said}, a redirect to {answer.location}.",
            "Perfsee turns a POST that is redirected into a GET. Enter an address in Perfsee that "
            "is answered without one, and let no login be asked for there.",
        )
    reason = f": {answer.reason}" if answer.reason else "."
    advice = _ADVICE.get(answer.status, "See the log of this site for what it did with it.")
    return bad(_TOPIC, said + reason, advice)


def _signer() -> tuple[Secret, str, str] | None:
    """Return a secret, a hook that it is valid for, and a project that the hook may speak of."""
    for hook_id in ("", *webhook_settings.hooks):
        for secret in webhook_settings.secrets_for(hook_id):
            pattern, *_ = webhook_settings.projects_for(hook_id) or ("doctor",)
            return secret, hook_id, pattern.replace("*", "x")
    return None


def _allowed_host() -> str:
    """Return a name that the site answers to."""
    for name in settings.ALLOWED_HOSTS:
        if name != "*":
            return f"www{name}" if name.startswith(".") else str(name)
    return "localhost"


def _ask(url: str, secret: Secret, hook_id: str, project: str) -> Answer:
    """Have the site answer a signed delivery, and take back what it stored."""
    variables = {
        "eventType": EVENT,
        "payload": {"data": None, "variables": {"projectSlug": project}},
    }
    body = json.dumps(variables).encode()
    headers = perfsee_headers(body, secret.key.decode(), hook_id=hook_id)
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

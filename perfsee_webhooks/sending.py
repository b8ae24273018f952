"""Send a signed delivery as Perfsee does, to try out a receiver over real HTTP."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Final
from urllib.parse import urlsplit

from . import envelope
from .signatures import sign
from .text import one_line

USER_AGENT: Final = "Perfsee-Hookshot/1"
TIMEOUT: Final = timedelta(seconds=30)
SAMPLE_HOOK_ID: Final = "00000000-0000-4000-8000-000000000000"


class NotSent(Exception):
    """A request that got no answer; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a receiver answered, and how long it took."""

    status: int
    body: bytes = field(repr=False)
    duration: timedelta


def perfsee_headers(
    body: bytes,
    secret: str | None,
    *,
    delivery_id: str | None = None,
    hook_id: str = SAMPLE_HOOK_ID,
) -> dict[str, str]:
    """Return the headers that Perfsee sends with a body; without a secret none signs it.

    Names and values come from the sending server, `webhook/service.ts` in perfsee/perfsee.
    """
    event = envelope.readable_event(body)
    headers = {
        "Accept": "*/*",
        "Content-Type": "application/json",
        "User-Agent": USER_AGENT,
        envelope.DELIVERY_HEADER: delivery_id or str(uuid.uuid4()),
        envelope.EVENT_HEADER: _as_header(event.type),
        envelope.HOOK_ID_HEADER: hook_id,
        envelope.HOOK_PROJECT_HEADER: _as_header(event.project_slug or ""),
    }
    if secret is not None:
        headers[envelope.SIGNATURE_HEADER] = sign(body, secret)
    return headers


def post(url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
    """Send one POST, on a connection of its own and without following a redirect.

    Raises:
        ValueError: the address is no http:// or https:// one, or has a user's name in it.
        NotSent: nobody answered, or said nothing for 30 seconds.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
        raise ValueError("The address has to begin with http:// or https:// and a host's name.")
    connect = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = connect(parts.hostname, parts.port, timeout=TIMEOUT.total_seconds())
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    started = time.monotonic()
    try:
        connection.request("POST", target, body=body, headers={**headers, "Connection": "close"})
        response = connection.getresponse()
        answer = response.read()
    except (OSError, HTTPException) as error:
        raise NotSent(f"No answer from {url}: {type(error).__name__}: {error}") from error
    finally:
        connection.close()
    duration = timedelta(seconds=time.monotonic() - started)
    return Answer(status=response.status, body=answer, duration=duration)


def _as_header(value: str) -> str:
    """Return text of any kind as Latin-1 that is UTF-8 on its way."""
    return one_line(value, envelope.MAX_NAME_LENGTH).encode().decode("latin-1")

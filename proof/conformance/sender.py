"""Requests as Perfsee sends them, and as nobody should: byte for byte, over a socket of their own.

The signature is made here, not by the app's code, so that no mistake in that can vouch for itself.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import socket
import struct
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from typing import Final
from urllib.parse import urlsplit

UNANSWERED: Final = 0
TIMEOUT_SECONDS: Final = 30.0

DELIVERY: Final = "X-Perfsee-Delivery"
EVENT: Final = "X-Perfsee-Event"
HOOK_ID: Final = "X-Perfsee-Hook-ID"
PROJECT: Final = "X-Perfsee-Hook-Project"
SIGNATURE: Final = "X-Perfsee-Signature-256"

# A header with None is left out, one with several values is sent as often.
Headers = Mapping[str, str | Sequence[str] | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The status of an answer, or `UNANSWERED`."""

    status: int
    seconds: float = 0.0

    def __str__(self) -> str:
        return f"an answer of {self.status}" if self.status else "no answer"


def sign(body: bytes, secret: str) -> str:
    """Return the signature header of a body."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def perfsee_headers(body: bytes, delivery_id: str, secret: str) -> dict[str, str]:
    """Return the headers that Perfsee sends with a body."""
    return {
        "Accept": "*/*",
        "Content-Type": "application/json",
        "User-Agent": "Perfsee-Hookshot/1",
        DELIVERY: delivery_id,
        EVENT: _event_of(body),
        HOOK_ID: "7e1f4a52-0f5e-4d7b-9b61-1a3c5d7e9f10",
        PROJECT: "web-shop",
        SIGNATURE: sign(body, secret),
    }


def _event_of(body: bytes) -> str:
    try:
        named = json.loads(body)["eventType"]
    except (KeyError, RecursionError, TypeError, ValueError):
        return "bundle:finished"
    return named if isinstance(named, str) and named.isascii() else "bundle:finished"


def encode(url: str, method: str, body: bytes, headers: Headers) -> bytes:
    """Return a whole request as bytes; header values are Latin-1, so any byte can be sent."""
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = [f"{method} {target} HTTP/1.1"]
    common = {"Host": parts.netloc, "Connection": "close", "Content-Length": str(len(body))}
    for name, value in {**common, **headers}.items():
        values = [value] if isinstance(value, str) else value or ()
        lines += [f"{name}: {one}" for one in values]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def connect(url: str, timeout_seconds: float = TIMEOUT_SECONDS) -> socket.socket:
    """Return a connection to a receiver. Raises OSError if nobody listens."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    return socket.create_connection((parts.hostname, parts.port or 80), timeout=timeout_seconds)


def send(url: str, request: bytes, timeout_seconds: float = TIMEOUT_SECONDS) -> Answer:
    """Send a request and return the answer, without waiting until the connection is closed."""
    started = time.monotonic()
    try:
        with connect(url, timeout_seconds) as connection:
            connection.sendall(request)
            return Answer(status=status_from(connection), seconds=time.monotonic() - started)
    except OSError:
        return Answer(status=UNANSWERED, seconds=time.monotonic() - started)


def status_from(connection: socket.socket) -> int:
    """Read the status of the answer on a connection, `UNANSWERED` if there is none."""
    response = HTTPResponse(connection)
    try:
        response.begin()
    except (HTTPException, OSError):
        return UNANSWERED
    finally:
        response.close()
    return response.status


def go_away(connection: socket.socket) -> None:
    """Close a connection with a reset, as a client does that dies."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()

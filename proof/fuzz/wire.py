"""What goes over the wire: signed headers, heads and chunks as the bytes that they are."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from random import Random
from typing import Final

from perfsee_webhooks.sending import perfsee_headers

from .bodies import MEGABYTE

STORED: Final = frozenset({204})

Headers = list[tuple[str, bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A body that was signed, and the id that it was sent with."""

    delivery_id: str
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What goes over one connection.

    kind:     what it was made to be
    data:     the bytes
    signed:   the bodies in it that have a valid signature: no other body may be stored
    expected: the statuses that alone will do, empty where any will but an error of the server
    leaves:   the client goes away at once, without reading the answer
    """

    kind: str
    data: bytes = field(repr=False)
    signed: tuple[Sent, ...] = ()
    expected: frozenset[int] = frozenset()
    leaves: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """Makes the headers that Perfsee makes, with a secret that the site knows."""

    secret: str = field(repr=False)

    def headers(self, random: Random, body: bytes) -> tuple[Headers, Sent]:
        """Return the headers of a good request, and what it sends."""
        delivery_id = str(uuid.UUID(bytes=random.randbytes(16), version=4))
        headers = perfsee_headers(body, self.secret, delivery_id=delivery_id)
        pairs = [(name, value.encode("latin-1")) for name, value in headers.items()]
        pairs += [
            ("Host", b"127.0.0.1"),
            ("Connection", b"close"),
            ("Content-Length", b"%d" % len(body)),
        ]
        return pairs, Sent(delivery_id=delivery_id, body=body)

    def stored(self, kind: str, random: Random, body: bytes) -> Attempt:
        """Return a good request, which has to be stored."""
        headers, sent = self.headers(random, body)
        return Attempt(kind=kind, data=head(headers) + body, signed=(sent,), expected=STORED)


def head(headers: Headers, line: bytes = b"POST /perfsee/webhook/ HTTP/1.1") -> bytes:
    """Return the head of a request, with the empty line that ends it."""
    lines = [line, *(name.encode() + b": " + value for name, value in headers)]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def replaced(headers: Headers, name: str, value: bytes) -> Headers:
    """Return headers with another value of one of them."""
    return [*(pair for pair in headers if pair[0] != name), (name, value)]


def chunked(headers: Headers, value: bytes = b"chunked", *, keeps_length: bool = False) -> Headers:
    """Return headers that announce a body in chunks."""
    kept = [pair for pair in headers if keeps_length or pair[0] != "Content-Length"]
    return replaced(kept, "Transfer-Encoding", value)


def in_chunks(random: Random, body: bytes) -> bytes:
    """Return a body in chunks, with the one that ends it."""
    size = random.choice((1, 7, 1000)) if len(body) < 10_000 else MEGABYTE
    parts = (body[start : start + size] for start in range(0, len(body), size))
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def as_bytes(text: str) -> bytes:
    """Return text as UTF-8, lone surrogates as the bytes that no UTF-8 has."""
    return text.encode("utf-8", "surrogatepass")

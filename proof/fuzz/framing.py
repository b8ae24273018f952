"""Hostile requests that break the rules of HTTP, or come in rows, or not to their end."""

from __future__ import annotations

from random import Random
from typing import Final

from .bodies import SAMPLES, any_body, any_text
from .requests import good, signed_body
from .wire import STORED, Attempt, Signer, as_bytes, chunked, head, in_chunks, replaced

PATH: Final = "/perfsee/webhook/"


def length(random: Random, signer: Signer) -> Attempt:
    """Return a request whose length is missing, lies, or is no number."""
    body = any_body(random)[1] or b"x"
    headers, sent = signer.headers(random, body)
    size = len(body)
    value = random.choice(
        (
            *(str(number).encode() for number in (0, size - 1, size + 1, size + 9**9, -1)),
            *(b"+%d" % size, b"0x%x" % size, b"%d,%d" % (size, size), b"1e3", b"9" * 5000),
            *(b"", "٣".encode(), b"%d " % size, b"%d_0" % size, b"0%d" % size),
        )
    )
    without = [pair for pair in headers if pair[0] != "Content-Length"]
    headers = without if random.random() < 0.2 else replaced(headers, "Content-Length", value)
    cut = body[: random.randrange(size + 1)] if random.random() < 0.3 else body
    # Perfsee's signature of a part of the body would be another one.
    return Attempt(kind="length", data=head(headers) + cut, signed=(sent,))


def chunks(random: Random, signer: Signer) -> Attempt:
    """Return a signed body in chunks, with trailers, extensions, or broken ones."""
    kind, body = any_body(random)
    headers, sent = signer.headers(random, body)
    value = random.choice((b"chunked",) * 6 + (b"Chunked", b"gzip, chunked", b"xchunked", b""))
    keeps_length = random.random() < 0.2
    headers = chunked(headers, value, keeps_length=keeps_length)
    written = in_chunks(random, body)
    is_good = value == b"chunked" and not keeps_length
    if random.random() < 0.6:
        is_good = False
        trailers = random.choice(
            (
                b"X-Trailer: 1\r\n\r\n",
                b"X-Perfsee-Delivery: other\r\n\r\n",
                b"no colon\r\n\r\n",
                b": empty\r\n\r\n",
                b"Bad\x00Name: 1\r\n\r\n",
                b"A: \xff\x00\r\n\r\n",
                b"A: " + b"x" * 300_000 + b"\r\n\r\n",
                b"A: 1\n\n",
                b"",
            )
        )
        ends = b"0\r\n" + trailers
        other = random.choice((b"zz\r\n", b"-5\r\n", b"ffffffffffffffffffff\r\n", b"\r\n", b"5"))
        written = random.choice(
            (
                written.removesuffix(b"0\r\n\r\n") + ends,
                written.replace(b"\r\n", b"\n"),
                other + written,
                written[: random.randrange(len(written))],
                written.replace(b"\r\n", b";a=b\r\n", 1),
                written.replace(b"\r\n", b";" + b"a" * 20_000 + b"\r\n", 1),
            )
        )
    return Attempt(
        kind=f"chunks: {kind}" if is_good else "chunks: broken",
        data=head(headers) + written,
        signed=(sent,),
        expected=STORED if is_good else frozenset(),
    )


def request_line(random: Random, signer: Signer) -> Attempt:
    """Return a signed request with another method, path, query or version."""
    body = random.choice(SAMPLES)
    headers, sent = signer.headers(random, body)
    method = random.choice(
        ("POST", "POST", "GET", "HEAD", "PUT", "OPTIONS", "TRACE", "post", "P\x00ST", "CONNECT")
    )
    path = random.choice(
        (
            PATH,
            PATH.rstrip("/"),
            f"{PATH}?{any_text(random)[:50]}",
            f"{PATH}?a=%00&b=%ff",
            f"{PATH}%00",
            f"{PATH}../webhook/",
            f"/{PATH}",
            f"{PATH}#a",
            f"http://evil.example{PATH}",
            f"{PATH};a=b",
            "/perfsee/%77ebhook/",
            "/%ff%fe/",
            "*",
            "/" + "a" * 9000,
            "",
        )
    )
    version = random.choice(("HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/9", ""))
    line = as_bytes(f"{method} {path} {version}")
    return Attempt(kind="request line", data=head(headers, line) + body, signed=(sent,))


def broken_head(random: Random, signer: Signer) -> Attempt:
    """Return a signed request with some bytes of its head changed, cut or doubled."""
    body = random.choice(SAMPLES)
    headers, sent = signer.headers(random, body)
    broken = bytearray(head(headers))
    for _ in range(random.randrange(1, 4)):
        at = random.randrange(len(broken))
        match random.randrange(3):
            case 0:
                broken[at] = random.randrange(256)
            case 1:
                del broken[at : at + random.randrange(8)]
            case _:
                odd = (b"\r\n", b"\n", b"\r", b"\x00", b":", b" ", b"\r\n \t", b"\xff")
                broken[at:at] = random.choice(odd)
        if not broken:
            break
    return Attempt(kind="broken head", data=bytes(broken) + body, signed=(sent,))


def pipelined(random: Random, signer: Signer) -> Attempt:
    """Return several requests at once on one connection that is kept, the last one good."""
    before = [signed_body(random, signer) for _ in range(random.randrange(1, 4))]
    kept = [part.data.replace(b"Connection: close", b"Connection: keep-alive") for part in before]
    last = good(random, signer)
    signed = tuple(sent for part in (*before, last) for sent in part.signed)
    data = b"".join((*kept, last.data))
    return Attempt(kind="pipelined", data=data, signed=signed, expected=STORED)


def goes_away(random: Random, signer: Signer) -> Attempt:
    """Return a good request of which the client sends a part, or waits for no answer."""
    whole = good(random, signer)
    end = random.choice((len(whole.data), random.randrange(len(whole.data))))
    return Attempt(kind="goes away", data=whole.data[:end], signed=whole.signed, leaves=True)


def noise(random: Random, _signer: Signer) -> Attempt:
    """Return bytes that are no HTTP."""
    start = random.choice((b"", b"\x16\x03\x01", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\r\n\r\n"))
    return Attempt(kind="bytes", data=start + random.randbytes(random.randrange(500)))

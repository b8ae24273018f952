"""Hostile requests that are whole: ids, headers, bodies, signatures and encodings."""

from __future__ import annotations

from random import Random
from typing import Final

from perfsee_webhooks.envelope import DELIVERY_HEADER, SIGNATURE_HEADER
from perfsee_webhooks.signatures import sign

from .bodies import MEGABYTE, SAMPLES, any_body, any_text
from .bodies import large as large_body
from .wire import STORED, Attempt, Sent, Signer, as_bytes, chunked, head, in_chunks, replaced

TOO_LARGE: Final = 10 * MEGABYTE + 1


def good(random: Random, signer: Signer) -> Attempt:
    """Return what Perfsee sends."""
    return signer.stored("good", random, random.choice(SAMPLES))


def signed_body(random: Random, signer: Signer) -> Attempt:
    """Return a whole request, signed, with a body of any kind: it has to be stored."""
    kind, body = any_body(random)
    return signer.stored(f"signed body: {kind}", random, body)


def large(random: Random, signer: Signer) -> Attempt:
    """Return megabytes that are signed: they have to be stored."""
    return signer.stored("large", random, large_body(random))


def too_large(random: Random, signer: Signer) -> Attempt:
    """Return more than a site takes, signed, declared or in chunks."""
    body = bytes(TOO_LARGE)
    headers, _sent = signer.headers(random, body)
    if random.random() < 0.5:
        data = head(headers) + body
    else:
        data = head(chunked(headers)) + in_chunks(random, body)
    return Attempt(kind="too large", data=data, expected=frozenset({413}))


def hostile_id(random: Random, signer: Signer) -> Attempt:
    """Return a good request whose id is a path, control characters, too long, or none."""
    body = random.choice(SAMPLES)
    headers, _sent = signer.headers(random, body)
    value = random.choice(
        (
            b"../../../etc/passwd",
            b"..",
            b".hidden",
            b"-rf",
            b"a/b",
            b"a\\b",
            b"C:\\con",
            b"x" * random.choice((128, 129, 4000)),
            b"=cmd",
            b"a b",
            b"a,b",
            b"\xff\xfe",
            b"a\tb",
            b"",
            b" ",
            random.randbytes(8).translate(None, b"\r\n\0"),
            as_bytes(any_text(random)),
        )
    )
    # What a server strips off may leave an id that will do, so nothing is expected.
    sent = Sent(delivery_id=value.decode("latin-1").strip(" \t"), body=body)
    data = head(replaced(headers, DELIVERY_HEADER, value)) + body
    return Attempt(kind="hostile id", data=data, signed=(sent,))


def hostile_headers(random: Random, signer: Signer) -> Attempt:
    """Return a signed request in which other headers hold any bytes, or are huge or many."""
    kind, body = any_body(random)
    headers, sent = signer.headers(random, body)
    names = ("X-Perfsee-Event", "X-Perfsee-Hook-ID", "X-Perfsee-Hook-Project", "User-Agent")
    for name in random.sample((*names, "X-Request-ID", "Forwarded", "Content-Type", "Via"), 4):
        value = random.choice(
            (
                as_bytes(any_text(random)),
                random.randbytes(random.randrange(40)).translate(None, b"\r\n"),
                b"y" * random.choice((500, 501, 8000, 70_000)),
                b"\xe4\xb8\xad\xff",
            )
        )
        headers = replaced(headers, name, value)
    if random.random() < 0.1:
        headers += [(f"X-Many-{i}", b"z") for i in range(random.choice((50, 99, 150)))]
    if random.random() < 0.1:
        hosts = (b"", b"evil.example", b"a b", b"[::1", b"127.0.0.1:x", b"\xff")
        headers = replaced(headers, "Host", random.choice(hosts))
    data = head(headers) + body
    return Attempt(kind=f"hostile headers: {kind}", data=data, signed=(sent,))


def headers_twice(random: Random, signer: Signer) -> Attempt:
    """Return a request with two of a header: signatures, ids, lengths, hosts, encodings."""
    body = random.choice(SAMPLES)
    headers, sent = signer.headers(random, body)
    name = random.choice(
        (SIGNATURE_HEADER, DELIVERY_HEADER, "Content-Length", "Host", "X-Perfsee-Event")
    )
    other = random.choice((dict(headers)[name], b"sha256=" + b"0" * 64, b"5", b"other"))
    twin = random.choice((name, name.lower(), name.replace("-", "_"), f"{name} "))
    headers.insert(random.randrange(len(headers)), (twin, other))
    signed = (sent, Sent(delivery_id="other", body=body), Sent(delivery_id="5", body=body))
    return Attempt(kind="headers twice", data=head(headers) + body, signed=signed)


def forged(random: Random, signer: Signer) -> Attempt:
    """Return a request that nobody who knows the secret has signed: it is refused."""
    body = any_body(random)[1]
    headers, _sent = signer.headers(random, body)
    good = sign(body, signer.secret)
    value = random.choice(
        (
            sign(body, f"{signer.secret} "),
            sign(body, ""),
            sign(body + b" ", signer.secret),
            good.removeprefix("sha256="),
            good.upper(),
            good.replace("sha256", "sha1"),
            good[:-1],
            f"{good}0",
            f"{good},{good}",
            "sha256=" + "\uff10" * 64,
            "sha256=",
            "",
            any_text(random),
        )
    )
    data = head(replaced(headers, SIGNATURE_HEADER, as_bytes(value))) + body
    return Attempt(kind="forged", data=data, expected=frozenset({400, 431}))


def encoding(random: Random, signer: Signer) -> Attempt:
    """Return a signed body that says it is compressed or of any charset: bytes are bytes."""
    body = any_body(random)[1]
    headers, sent = signer.headers(random, body)
    headers.append(
        random.choice((("Content-Encoding", b"gzip"), ("Content-Encoding", b"br, \xff")))
    )
    value = random.choice(
        (
            b"application/json; charset=utf-16",
            b"application/json; charset=\xff",
            b"application/json; charset=no-such-codec",
            b"multipart/form-data; boundary=x",
            b"multipart/form-data",
            b"application/x-www-form-urlencoded",
            b"text/plain; charset=base64",
            b";;;=" * 50,
        )
    )
    headers = replaced(headers, "Content-Type", value)
    data = head(headers) + body
    return Attempt(kind="encoding", data=data, signed=(sent,), expected=STORED)


def again(random: Random, signer: Signer) -> Attempt:
    """Return an id of few, so that it meets itself with the same or another body."""
    body = random.choice(SAMPLES)
    headers, _sent = signer.headers(random, body)
    delivery_id = f"again-{random.randrange(40)}"
    sent = Sent(delivery_id=delivery_id, body=body)
    data = head(replaced(headers, DELIVERY_HEADER, delivery_id.encode())) + body
    return Attempt(kind="again", data=data, signed=(sent,), expected=frozenset({204, 409}))

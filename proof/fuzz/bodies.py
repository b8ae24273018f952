"""Hostile bodies: mutations of the real samples, JSON at its edges, and bytes that are none."""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import Any, Final

from perfsee_webhooks import events
from perfsee_webhooks.samples import sample_body

MEGABYTE: Final = 1024 * 1024

SAMPLES: Final = tuple(sample_body(event_type) for event_type in events.KNOWN)

# What databases, terminals, spreadsheets, shells, pages and paths stumble over.
ODD: Final[tuple[str, ...]] = (
    "",
    " ",
    "\x00",
    "\x1b[31m",
    "\r\n",
    "\t",
    "\x85",
    "\u2028",
    "\u202e",
    "\u2066",
    "\ufeff",
    "\ufffe",
    "\ud83d",
    "\udc00",
    "\ud83d\ude00",
    "\U0010ffff",
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "\tx",
    "'=1",
    "\uff1d1",
    "'",
    '"',
    "$(id)",
    "`id`",
    "%s",
    "{0}",
    "{url}",
    "<script>",
    "../../etc/passwd",
    "END\n",
    "1\nERROR forged: line",
    "2022-12-18T23:12:04.076Z",
    "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59-23:59",
    "2022-12-18\ud83d23:12:04",
    "2022-W52-7",
    "Failed",
    "bundle:finished",
    "lab-snapshot-completed",
    "unknown",
)
NUMBERS: Final[tuple[float, ...]] = (
    0,
    -0.0,
    -1,
    0.1,
    101,
    2**31,
    2**53 + 1,
    2**63,
    -(2**63) - 1,
    10**400,
    -(10**4299),
    1e308,
    5e-324,
    1e21,
    float("inf"),
    float("nan"),
)
_TYPES: Final = (*events.KNOWN, *(events.dashed(name) for name in events.KNOWN))


def any_text(random: Random) -> str:
    """Return text that may hold any code point, longer than a column now and then."""
    match random.randrange(4):
        case 0:
            return random.choice(ODD)
        case 1:
            return "".join(random.choices(ODD, k=random.randrange(5)))
        case 2:
            return "".join(chr(_code_point(random)) for _ in range(random.randrange(20)))
        case _:
            return (random.choice(ODD) or "x") * random.randrange(400)


def _code_point(random: Random) -> int:
    return random.randrange(random.choice((0x20, 0x80, 0x100, 0x3000, 0x10000, 0x110000)))


def any_value(random: Random, depth: int = 3) -> Any:
    """Return any JSON value."""
    match random.randrange(9 if depth else 6):
        case 0:
            return random.choice((None, True, False))
        case 1 | 2:
            return random.choice(NUMBERS)
        case 3 | 4 | 5:
            return any_text(random)
        case 6 | 7:
            return [any_value(random, depth - 1) for _ in range(random.randrange(4))]
        case _:
            return {
                any_text(random): any_value(random, depth - 1) for _ in range(random.randrange(4))
            }


def written(value: Any, random: Random) -> bytes:
    """Return a value as JSON, escaped or as UTF-8; lone surrogates are always escaped."""
    text = json.dumps(value, ensure_ascii=True)
    if random.random() < 0.5:
        unescaped = json.dumps(value, ensure_ascii=False)
        try:
            return unescaped.encode()
        except UnicodeEncodeError:
            return text.encode()
    return text.encode()


def mutated_value(random: Random) -> bytes:
    """Return a sample with some of its values of another type, gone, or moved."""
    value = json.loads(random.choice(SAMPLES))
    for _ in range(random.randrange(1, 6)):
        places = list(_places(value))
        holder, key = random.choice(places)
        match random.randrange(5):
            case 0:
                del holder[key]
            case 1:
                holder[key] = [holder[key]] * random.randrange(4)
            case 2 if isinstance(holder, dict):
                holder[any_text(random)] = holder[key]
            case _:
                holder[key] = any_value(random)
        if not value:
            break
    return written(value, random)


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Return each place in a value, as what holds it and its key."""
    found, left = [], [value]
    while left:
        holder = left.pop()
        keys = list(holder) if isinstance(holder, dict) else range(len(holder))
        for key in keys:
            found.append((holder, key))
            if isinstance(holder[key], dict | list) and holder[key]:
                left.append(holder[key])
    return found


def mutated_bytes(random: Random) -> bytes:
    """Return a sample with some of its bytes changed, cut, doubled or moved."""
    body = bytearray(random.choice(SAMPLES))
    for _ in range(random.randrange(1, 8)):
        at = random.randrange(len(body) + 1)
        match random.randrange(5):
            case 0:
                body[at : at + 1] = random.randbytes(1)
            case 1:
                del body[at : at + random.randrange(20)]
            case 2:
                end = at + random.randrange(60)
                body[at:at] = body[at:end]
            case 3:
                body[at:at] = random.choice(
                    (b"\x00", b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\\u0000", b"\\ud83d", b'"')
                )
            case _:
                body[at:at] = random.choice((b"{", b"}", b"[", b"]", b",", b":", b"1e999", b"//"))
    return bytes(body)


def odd_json(random: Random) -> bytes:
    """Return JSON at the edges of what is JSON, and a little beyond."""
    sample = random.choice(SAMPLES)
    depth = random.choice((10, 200, 990, 1000, 5000, 100_000))
    deep = random.choice((b'{"a":' * depth + b"1" + b"}" * depth, b"[" * depth + b"]" * depth))
    return random.choice(
        (
            b"\xef\xbb\xbf" + sample,
            sample.decode().encode("utf-16"),
            sample.decode().encode("utf-32-be"),
            sample + b"\x00",
            sample + sample,
            b" \t\r\n" + sample + b"\r\n",
            sample[:-1] + b"," + sample[1:],  # each key twice
            sample.replace(b'"payload":', b'"payload":' + deep + b',"payload":'),
            b'{"eventType":"bundle:finished","payload":' + deep + b"}",
            deep,
            b"9" * random.choice((4299, 4300, 4301, 100_000)),
            b'{"eventType":"bundle:finished","payload":{"data":{"project":{"artifact":{"score":'
            + random.choice((b"9" * 4300, b"1e400", b"-1E-400", b"NaN", b"-Infinity", b"0" * 9))
            + b"}}}}}",
            random.choice((b"", b"null", b"true", b'""', b"[]", b"{}", b"0", b"\x00", b"{")),
            written({"eventType": any_text(random), "payload": any_value(random)}, random),
            written(any_value(random), random),
            written(like_an_event(random), random),
        )
    )


def like_an_event(random: Random) -> dict[str, Any]:
    """Return an event in which text of each kind stands where it is stored or shown."""
    text: Callable[[], Any] = lambda: random.choice((any_text, any_value))(random)  # noqa: E731
    artifact = {key: text() for key in ("id", "name", "branch", "hash", "status", "failedReason")}
    report = {
        **artifact,
        "page": {"id": text(), "name": text(), "url": text()},
        "profile": {"name": text()},
        "environment": {"name": text()},
        "createdAt": text(),
        "artifacts": [artifact, text()],
    }
    project = {
        "id": text(),
        "artifact": {**artifact, "score": random.choice(NUMBERS), "createdAt": text()},
        "snapshot": {**artifact, "title": text(), "snapshotReports": [report, text(), report]},
        "snapshotReport": report,
    }
    return {
        "eventType": random.choice((*_TYPES, text())),
        "payload": {"data": {"project": project}, "variables": {"projectSlug": text()}},
    }


def large(random: Random, event_type: str = events.BUNDLE_FINISHED) -> bytes:
    """Return a body of a few megabytes, of which little things are most."""
    item = random.choice(
        (b"{}", b'{"id":1}', b'{"status":"Failed"}', b"1", b'"x"', b"[]", b'{"artifacts":[{},{}]}')
    )
    count = random.choice((1, 2, 9)) * MEGABYTE // (len(item) + 1)
    return (
        b'{"eventType":"%b","payload":{"data":{"project":{"id":"web","snapshot":'
        b'{"snapshotReports":[' % event_type.encode() + b",".join([item] * count) + b"]}}}}}"
    )


MAKERS: Final[dict[str, Callable[[Random], bytes]]] = {
    "sample": lambda random: random.choice(SAMPLES),
    "mutated value": mutated_value,
    "mutated bytes": mutated_bytes,
    "odd JSON": odd_json,
    "odd event": lambda random: written(like_an_event(random), random),
    "no JSON": lambda random: random.randbytes(random.randrange(300)),
}


def any_body(random: Random) -> tuple[str, bytes]:
    """Return a body of some kind, with the name of the kind."""
    kind = random.choice(list(MAKERS))
    return kind, MAKERS[kind](random)

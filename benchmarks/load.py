"""Requests that are signed beforehand, and wrk, which sends each of them once.

wrk takes little of the processor that the server needs. It has to be installed: on Debian with
`apt-get install wrk`.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import uuid4

from perfsee_webhooks.samples import sample_body
from perfsee_webhooks.sending import perfsee_headers

SECRET: Final = "a secret of benchmarks, long enough"  # noqa: S105  # nobody else's
STRIPE_SECRET: Final = "whsec_of_benchmarks"  # noqa: S105  # nobody else's
STRIPE_API_KEY: Final = "sk_test_" + "b" * 24
_SCRIPT: Final = Path(__file__).with_name("wrk.lua")
_SMALLEST_BYTES: Final = 1_000
_LARGEST_BYTES: Final = 3_000
_GRACE_SECONDS: Final = 30

Made = tuple[bytes, dict[str, str]]


class NoWrk(RuntimeError):
    """wrk is not installed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What became of the requests of one round."""

    sent: int
    answered: int
    succeeded: int
    lost: int
    seconds: float
    median_us: int
    p99_us: int
    slowest_us: int

    @property
    def per_second(self) -> float:
        """How many requests were answered in a second."""
        return self.answered / self.seconds

    @property
    def succeeded_per_second(self) -> float:
        """How many requests were answered 2xx in a second."""
        return self.succeeded / self.seconds


def require_wrk() -> None:
    """Raise NoWrk unless wrk is there."""
    if shutil.which("wrk") is None:
        raise NoWrk("The load is made by wrk. Install it; on Debian: apt-get install wrk")


def fire(url: str, requests: Path, *, concurrency: int, seconds: float, pause_ms: int = 0) -> Load:
    """Send the requests of a file over so many connections, until it is used up or time is over.

    Each connection waits for `pause_ms` before each request.

    Raises:
        subprocess.CalledProcessError: wrk could not connect.
    """
    finished = subprocess.run(  # a program that is named here
        [
            *("wrk", "--threads=1", f"--connections={concurrency}", f"--script={_SCRIPT}"),
            *(f"--duration={int(seconds) + _GRACE_SECONDS}s", f"--timeout={_GRACE_SECONDS}s"),
            *(url, "--", str(requests), str(seconds), str(pause_ms)),
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    return Load(**json.loads(finished.stdout.splitlines()[-1]))


def write_requests(path: Path, address: str, made: Iterator[Made]) -> None:
    """Write requests to a path of a site in the form that `wrk.lua` reads."""
    with path.open("wb") as file:
        for body, headers in made:
            lines = [f"POST {address} HTTP/1.1", "Host: 127.0.0.1"]
            lines += [f"{name}: {value}" for name, value in headers.items()]
            lines += [f"Content-Length: {len(body)}", "", ""]
            request = "\r\n".join(lines).encode() + body
            file.write(b"%010d" % len(request) + request)


def new(count: int) -> Iterator[Made]:
    """Yield deliveries with ids of their own, each body different from the others."""
    for index in range(count):
        body = _body(index)
        yield body, perfsee_headers(body, SECRET)


def forged(count: int) -> Iterator[Made]:
    """Yield deliveries that are signed with another secret."""
    for index in range(count):
        body = _body(index)
        yield body, perfsee_headers(body, SECRET + "!")


def of_stripe(count: int) -> Iterator[Made]:
    """Yield events as Stripe sends and signs them, of a type that nothing is done about."""
    for index in range(count):
        body = _stripe_body(index)
        now = int(time.time())
        digest = hmac.digest(STRIPE_SECRET.encode(), b"%d." % now + body, hashlib.sha256).hex()
        yield (
            body,
            {
                "Content-Type": "application/json; charset=utf-8",
                "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
                "Stripe-Signature": f"t={now},v1={digest}",
            },
        )


KINDS: Final[dict[str, Callable[[int], Iterator[Made]]]] = {
    "new": new,
    "forged": forged,
    "of_stripe": of_stripe,
}


def _body(index: int) -> bytes:
    """Return a body of 1 to 3 kB, evenly spread, that is shaped as Perfsee shapes it."""
    value = json.loads(_SAMPLE)
    artifact = value["payload"]["data"]["project"]["artifact"]
    artifact["hash"] = hashlib.sha1(b"%d" % index, usedforsecurity=False).hexdigest()
    artifact["buildLink"] += "?" + _padding(index, len(_written(value)))
    return _written(value)


def _stripe_body(index: int) -> bytes:
    value = {
        "id": f"evt_{uuid4().hex}",
        "object": "event",
        "api_version": "2020-08-27",
        "created": 1_700_000_000 + index,
        "data": {"object": {"id": f"src_{index}", "object": "benchmark", "text": ""}},
        "livemode": False,
        "pending_webhooks": 1,
        "request": {"id": f"req_{index}", "idempotency_key": str(uuid4())},
        "type": "benchmark.finished",
    }
    value["data"]["object"]["text"] = _padding(index, len(_written(value)))  # type: ignore[index]
    return _written(value)


def _padding(index: int, size: int) -> str:
    wanted = _SMALLEST_BYTES + index * 7919 % (_LARGEST_BYTES - _SMALLEST_BYTES)
    return "x" * max(0, wanted - size)


def _written(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


_SAMPLE: Final = sample_body("bundle:finished")

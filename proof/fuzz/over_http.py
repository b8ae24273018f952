"""Hostile requests over several connections at once against the example site on a real server.

Afterwards: no error of the server, no traceback, nothing stored that was not signed, everything
acknowledged stored as it was sent, refused requests within their bounds, and memory within its.
"""

from __future__ import annotations

import hashlib
import re
import select
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import count
from pathlib import Path
from random import Random
from threading import Lock
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

from perfsee_webhooks.envelope import DELIVERY_HEADER, Envelope
from perfsee_webhooks.models.rejection import MAX_UNVERIFIED_BODY_BYTES, strangers
from tests.sites import (
    GUNICORN_FRONTED,
    GUNICORN_THREADS,
    SECRET,
    UVICORN,
    UVICORN_FRONTED,
    Site,
    migrate,
    running_site,
)

from . import framing, requests
from .findings import Tally
from .memory import resident_megabytes
from .wire import Attempt, Signer

SERVERS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "gunicorn": GUNICORN_THREADS,
        "uvicorn": UVICORN,
        "gunicorn-fronted": GUNICORN_FRONTED,
        "uvicorn-fronted": UVICORN_FRONTED,
    }
)
CONNECTIONS: Final = 4
ANSWER_SECONDS: Final = 30
QUIET_SECONDS: Final = 0.2
# What a server says of an encoding or a version of HTTP that it does not know.
UNSUPPORTED: Final = frozenset({501, 505})
LARGE_ONE_IN: Final = 300

# How much more memory the server may have at the end than halfway, and how much at any time: of
# ten megabytes that are signed, JSON makes hundreds, and here two are parsed at once at most.
MAX_GROWTH_MEGABYTES: Final = 300
MAX_MEGABYTES: Final = 1500

MAKERS: Final[tuple[Callable[[Random, Signer], Attempt], ...]] = (
    requests.signed_body,
    requests.hostile_id,
    requests.hostile_headers,
    requests.headers_twice,
    requests.forged,
    requests.encoding,
    requests.again,
    framing.length,
    framing.chunks,
    framing.request_line,
    framing.broken_head,
    framing.pipelined,
    framing.goes_away,
    framing.noise,
)
LARGE_MAKERS: Final = (requests.large, requests.too_large)

_STATUS: Final = re.compile(rb"HTTP/1\.[01] (\d{3}) ")
_COLUMNS: Final = (
    "event_type",
    "project",
    "branch",
    "commit_hash",
    "summary",
    "subject",
    "body_sha256",
)
LOST: Final = "lost"

# What the example's own receiver says of a score that is none: a failed run like any other.
_EXPECTED_ERROR: Final = "example_project.board.receivers.ImpossibleScore:"


class Fuzzer:
    """Sends attempts to one site, and remembers what was signed and what was acknowledged."""

    def __init__(self, site: Site, tally: Tally, seed: str) -> None:
        address = urlsplit(site.origin)
        self._address = (address.hostname or "", address.port or 0)
        self._tally = tally
        self._seed = seed
        self._signer = Signer(secret=SECRET)
        self._numbers = count()
        self._large = Lock()
        self.signed: set[bytes] = set()
        self.acknowledged: dict[str, bytes] = {}

    def run(self, deadline: float, at_least: int) -> None:
        """Send attempts over as many connections at once as `CONNECTIONS`.

        They end at the deadline, but not before there have been so many from the start.
        """
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            sending = [pool.submit(self._run_one, deadline, at_least) for _ in range(CONNECTIONS)]
            for done in sending:
                done.result()

    def _run_one(self, deadline: float, at_least: int) -> None:
        for number in self._numbers:
            if time.monotonic() >= deadline and number >= at_least:
                return
            seed = f"{self._seed}/{number}"
            random = Random(seed)  # noqa: S311  # a seed has to make the same again
            if random.randrange(LARGE_ONE_IN) == 0:
                with self._large:
                    self.attempt(random.choice(LARGE_MAKERS)(random, self._signer), seed)
            else:
                self.attempt(random.choice(MAKERS)(random, self._signer), seed)

    def good(self, seed: str) -> None:
        """Send what Perfsee sends, which has to be stored."""
        random = Random(f"{self._seed}/{seed}")  # noqa: S311  # as below
        self.attempt(requests.good(random, self._signer), seed)

    def attempt(self, attempt: Attempt, seed: str) -> None:
        """Send an attempt, and hold its answer against what it may be."""
        self.signed |= {hashlib.sha256(sent.body).digest() for sent in attempt.signed}
        try:
            answer = self._answer(attempt)
        except TimeoutError:
            self._tally.count(attempt.kind)
            self._tally.add("no answer", attempt.kind, attempt.data, seed=seed)
            return
        statuses = [int(status) for status in _STATUS.findall(answer)]
        self._tally.count(attempt.kind, *statuses)
        wrong = [status for status in statuses if status >= 500 and status not in UNSUPPORTED]
        if wrong or (attempt.expected and not _as_expected(attempt, statuses)):
            what = f"{attempt.kind} was answered {statuses}"
            self._tally.add(f"{attempt.kind}: {statuses}", what, attempt.data, seed=seed)
        if statuses == [204] * len(attempt.signed) and attempt.expected == {204}:
            for sent in attempt.signed:
                self.acknowledged[sent.delivery_id] = hashlib.sha256(sent.body).digest()

    def _answer(self, attempt: Attempt) -> bytes:
        """Send the bytes, and return all that comes back until the server closes.

        Raises:
            TimeoutError: the server neither answers nor closes.
        """
        answer = b""
        with socket.create_connection(self._address, timeout=ANSWER_SECONDS) as connection:
            try:
                connection.sendall(attempt.data)
                if attempt.leaves:
                    return b""
                for chunk in _chunks(connection, is_whole=bool(attempt.expected)):
                    answer += chunk
            except TimeoutError:
                raise
            except OSError:
                pass  # a server that refuses a request closes before it has read the rest
        return answer


def _chunks(connection: socket.socket, *, is_whole: bool) -> Iterator[bytes]:
    """Yield what comes back, and say that nothing more follows once the server waits for more.

    That is said no sooner, since uvicorn takes it for a hang-up.
    """
    while True:
        if not is_whole and not select.select([connection], [], [], QUIET_SECONDS)[0]:
            connection.shutdown(socket.SHUT_WR)
            is_whole = True
        if not (chunk := connection.recv(65536)):
            return
        yield chunk


def _as_expected(attempt: Attempt, statuses: list[int]) -> bool:
    """Say whether each request of an attempt was answered, each as it may be."""
    requests_sent = max(len(attempt.signed), 1)
    return len(statuses) == requests_sent and set(statuses) <= attempt.expected


def run(
    tally: Tally, *, seconds: float, seed: int, server: str, folder: Path, at_least: int = 0
) -> None:
    """Fuzz the example site on a server, with a new SQLite database in a folder.

    It takes longer than so many seconds where the machine has not sent `at_least` attempts by then.
    """
    database = folder / f"{server}.sqlite3"
    url = f"sqlite:///{database}"
    migrate(url)
    with running_site(SERVERS[server], url) as site:
        fuzzer = Fuzzer(site, tally, f"{seed}/{server}")
        started = time.monotonic()
        fuzzer.good("first")
        fuzzer.run(started + seconds / 2, at_least // 2)
        halfway = resident_megabytes()
        fuzzer.run(started + seconds, at_least)
        end = resident_megabytes()
        fuzzer.good("last")
        _wait_until_nothing_runs(database)
        peak = resident_megabytes(peak=True)
    elapsed = time.monotonic() - started
    tally.notes.append(
        f"{server}: {halfway:.0f} MB halfway, {end:.0f} MB at the end, {peak:.0f} MB at most"
    )
    if end - halfway > MAX_GROWTH_MEGABYTES or peak > MAX_MEGABYTES:
        tally.add("memory", tally.notes[-1])
    for what in _tracebacks(site.printed):
        tally.add("traceback", what)
    with closing(sqlite3.connect(database)) as connection:
        for what in _wrong_deliveries(connection, fuzzer, tally):
            tally.add("deliveries", what)
        for what in _wrong_rejections(connection, fuzzer, elapsed):
            tally.add("rejections", what)


def _wait_until_nothing_runs(database: Path) -> None:
    """Wait for the receivers. What nobody runs, since its client went away, is the sweep's."""
    deadline = time.monotonic() + ANSWER_SECONDS
    running = "SELECT count(*) FROM perfsee_webhooks_delivery WHERE state = 'processing'"
    with closing(sqlite3.connect(database)) as connection:
        while connection.execute(running).fetchone()[0] and time.monotonic() < deadline:
            time.sleep(0.2)


def _tracebacks(printed: list[str]) -> Iterator[str]:
    """Yield each traceback that a server has printed, but for those of the site's receivers."""
    lines = iter(printed)
    for line in lines:
        if line.startswith("Traceback (most recent call last)"):
            block = [line]
            for following in lines:
                block.append(following)
                if following[:1] not in (" ", "\n"):
                    break
            if not block[-1].startswith(_EXPECTED_ERROR):
                yield "".join(block[-6:])


def _wrong_deliveries(
    connection: sqlite3.Connection, fuzzer: Fuzzer, tally: Tally
) -> Iterator[str]:
    """Yield what is stored and should not be, or not as it was sent; add what is lost."""
    lost = dict(fuzzer.acknowledged)
    columns = ", ".join(_COLUMNS)
    for delivery_id, verified_by, body, *found in connection.execute(
        f"SELECT delivery_id, verified_by, body, {columns} FROM perfsee_webhooks_delivery"  # noqa: S608  # names of this module
    ):
        digest = hashlib.sha256(body).digest()
        if digest not in fuzzer.signed or verified_by != "SECRETS[0]":
            yield f"{delivery_id!r} is stored, and nobody signed it"
        if lost.pop(delivery_id, digest) != digest:
            yield f"{delivery_id!r} has another body than was acknowledged"
        right = Envelope.read(body, {DELIVERY_HEADER: delivery_id}, verified_by)
        if found != [getattr(right, name) for name in _COLUMNS]:
            yield f"{delivery_id!r} has columns that its body does not say"
    for delivery_id in lost:
        tally.add(LOST, f"{delivery_id!r} was acknowledged, and is not stored")


def _wrong_rejections(
    connection: sqlite3.Connection, fuzzer: Fuzzer, seconds: float
) -> Iterator[str]:
    """Yield what is kept of refused requests beyond the bounds of what nobody signed."""
    kept = 0
    for verified_by, body in connection.execute(
        "SELECT verified_by, body FROM perfsee_webhooks_rejection"
    ):
        kept += not verified_by
        if verified_by and hashlib.sha256(body).digest() not in fuzzer.signed:
            yield "a rejection is said to be signed, and is not"
        if not verified_by and len(body) > MAX_UNVERIFIED_BODY_BYTES:
            yield f"a rejection that nobody signed has {len(body)} bytes"
    if kept > strangers.burst + strangers.per_second * seconds + 1:
        yield f"{kept} requests that nobody signed are kept after {seconds:.0f} seconds"

"""What is delivered while a migration runs, and for how long anybody waits for a table."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import psycopg

from perfsee_webhooks.samples import sample_body

POLL_SECONDS: Final = 0.01
_SENDERS: Final = 2
_PAUSE_SECONDS: Final = 0.05
_CALM_SECONDS: Final = 0.3
_BODY: Final = sample_body("bundle:finished")
_WAITING: Final = """
    SELECT max(extract(epoch FROM clock_timestamp() - waitstart))
    FROM pg_locks WHERE NOT granted AND locktype = 'relation'
    AND mode IN ('AccessShareLock', 'RowShareLock', 'RowExclusiveLock')
"""


@dataclass(kw_only=True)
class Load:
    """What is delivered all the time, and how long each delivery took."""

    deliver: Callable[[str, bytes], bool]
    sent: dict[str, bytes] = field(default_factory=dict)
    acknowledged: set[str] = field(default_factory=set)
    answers: list[tuple[float, float]] = field(default_factory=list)

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """Deliver from several threads while the context lasts."""
        ended = threading.Event()
        with ThreadPoolExecutor(_SENDERS) as pool:
            senders = [pool.submit(self._send_until, ended) for _ in range(_SENDERS)]
            try:
                yield
            finally:
                time.sleep(_CALM_SECONDS)
                ended.set()
        for sender in senders:
            sender.result()

    def longest_since(self, moment: float) -> float:
        """Return the seconds of the slowest delivery that was answered since."""
        return max((took for ended, took in self.answers if ended >= moment), default=0.0)

    def _send_until(self, ended: threading.Event) -> None:
        while not ended.is_set():
            delivery_id = str(uuid.uuid4())
            body = self.sent[delivery_id] = _BODY.replace(b"feat/webhook", delivery_id.encode())
            started = time.monotonic()
            if self.deliver(delivery_id, body):
                self.acknowledged.add(delivery_id)
            self.answers.append((time.monotonic(), time.monotonic() - started))
            ended.wait(_PAUSE_SECONDS)


@contextmanager
def watched(url: str) -> Iterator[list[float]]:
    """Note for how many seconds a writer or reader has been waiting for a table, all the time."""
    waits: list[float] = []
    ended = threading.Event()

    def watch() -> None:
        with psycopg.connect(url, autocommit=True) as database:
            while not ended.wait(POLL_SECONDS):
                found = database.execute(_WAITING).fetchone()
                if found and found[0]:
                    waits.append(float(found[0]))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield waits
    finally:
        ended.set()
        watcher.join()

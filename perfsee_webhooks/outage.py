"""Wait for a database that is away, for no longer than Perfsee waits for its answer.

A restart of the database takes seconds; a 503 would lose each delivery that comes within them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, TypeVar

from django.db import InterfaceError, InternalError, OperationalError, connections

# What a database raises that is away, is starting, or takes no writes while another one takes over.
AWAY: Final = (OperationalError, InterfaceError, InternalError)

_PAUSE: Final = timedelta(milliseconds=100)

_Result = TypeVar("_Result")


@dataclass(slots=True)
class Outage:
    """For how long a database has been away, as the threads of this process have seen it.

    They wait for it together: whoever comes when the others have waited long enough does not wait
    at all, or all threads would be held up by requests that nobody can serve.
    """

    began: float | None = None
    last_seen: float = 0.0

    def go_on(self, now: float, wait: timedelta) -> bool:
        """Note that the database is away; say whether it is still worth waiting for."""
        limit = wait.total_seconds()
        if self.began is None or now - self.last_seen > max(limit, 1):
            self.began = now
        self.last_seen = now
        return now + _PAUSE.total_seconds() < self.began + limit

    def end(self) -> None:
        """Note that the database has answered."""
        self.began = None


_outage: Final = Outage()


def _give_up_connection(using: str) -> None:
    """Have the next statement connect anew. Inside a transaction nobody but its owner may."""
    if not connections[using].in_atomic_block:
        connections[using].close()


def patiently(work: Callable[[], _Result], *, using: str, wait: timedelta) -> _Result:
    """Do work on a database; while it is away, try again until it is back or the wait is over.

    Raises:
        DatabaseError: whatever the work raised at last.
    """
    # Its own, since an attempt may take longer than the whole wait: on SQLite, for a lock.
    deadline = time.monotonic() + wait.total_seconds()
    while True:
        try:
            result = work()
        except AWAY:
            now = time.monotonic()
            if not _outage.go_on(now, wait) or now >= deadline:
                raise
            time.sleep(_PAUSE.total_seconds())
            _give_up_connection(using)
        else:
            _outage.end()
            return result

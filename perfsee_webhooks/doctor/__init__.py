"""Is this site able to receive, store and process deliveries? Each part of that, tried for real."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from .probe import examine_request
from .result import Level, Result, guarded
from .site import (
    examine_clock,
    examine_database,
    examine_engine,
    examine_receivers,
    examine_settings,
    examine_sweep,
    look_back,
)

__all__ = ["Level", "Result", "examine"]


def examine(*, host: str | None = None, wait: timedelta = timedelta(seconds=5)) -> Iterator[Result]:
    """Yield what was found, the settings first; nothing is left behind, and no receiver is run.

    host: the name that Perfsee reaches the site by; None takes one of `ALLOWED_HOSTS`
    wait: how long a worker of the task engine may take to run a task that does nothing
    """
    yield from guarded("settings", examine_settings)
    database = examine_database()
    yield database
    if database.level == Level.ERROR:
        return
    yield from guarded("clock", examine_clock)
    yield from guarded("engine", lambda: examine_engine(wait))
    yield from guarded("receivers", examine_receivers)
    yield from guarded("sweep", examine_sweep)
    yield from guarded("request", lambda: examine_request(host))
    yield from guarded("last day", look_back)

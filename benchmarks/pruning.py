"""Answers while old bodies, and then old rows, are pruned out of a large table."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any, Final

from .drawn import SPAN
from .load import Load, fire, new, write_requests
from .rounds import execute, ours
from .servers import serving
from .site import Worker
from .table import Figure, figure

_CONCURRENCY: Final = 8
# Each connection waits so long after an answer: a site that is busy, and not one that is full.
_PAUSE_MS: Final = 40
_WINDOW_SECONDS: Final = 10.0
_WINDOWS: Final = 3
_REQUESTS: Final = int(_WINDOW_SECONDS * _CONCURRENCY * 1000 / _PAUSE_MS)
_PRUNE: Final = "benchmarks.pruning:prune"


def prune_while_receiving(url: str, number: int) -> Iterator[Figure]:
    """Prune half of all bodies, then half of all rows, and yield how the slowest answers compare.

    The deliveries up to the primary key `number` are those to be pruned.
    """
    receiver = ours()
    windows: list[Load] = []
    arrived = f"SELECT COUNT(*) FROM {receiver.table} WHERE id > {number}"  # noqa: S608  # names of this package
    before_all = execute(url, arrived)
    with serving(receiver.server, receiver.application, url, receiver.environment) as origin:
        _window(origin, windows)
        before = [_window(origin, windows) for _ in range(_WINDOWS)]
        for what in ("bodies", "rows"):
            pruning = Worker(url, _PRUNE, what=what)
            pruning.begin()
            during = [_window(origin, windows)]
            while not pruning.has_answered():
                during.append(_window(origin, windows))
            pruned = pruning.answer()
            yield figure(
                f"p99 of the answer while {what} are pruned ÷ before",
                during,
                [median(before)] * len(during),
                at_most=2,
                note=f"{median(during):.1f} ms and {median(before):.1f} ms; "
                f"{pruned['count']:,} {what} in {pruned['seconds']:.0f} s",
            )
    sent = sum(load.sent for load in windows)
    received = execute(url, arrived) - before_all
    yield figure(
        "deliveries that were sent while it pruned, and are not stored",
        [sent - received],
        [1],
        at_most=0,
        note=f"{sent:,} were sent",
    )


def _window(origin: str, windows: list[Load]) -> float:
    """Send new deliveries at a steady pace, and return the p99 of the answers in milliseconds."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "requests"
        write_requests(path, "/perfsee/webhook/", new(_REQUESTS))
        load = fire(
            origin,
            path,
            concurrency=_CONCURRENCY,
            seconds=_WINDOW_SECONDS,
            pause_ms=_PAUSE_MS,
        )
    windows.append(load)
    return load.p99_us / 1e3


def prune(*, what: str) -> dict[str, float]:
    """Prune as `perfsee_prune` does, what is older than half of the time that is filled."""
    from django.conf import settings

    from perfsee_webhooks import pruning

    kept = {"KEEP_BODIES": SPAN / 2 if what == "bodies" else None}
    kept["KEEP_ROWS"] = SPAN / 2 if what == "rows" else None
    settings.PERFSEE_WEBHOOKS = {**settings.PERFSEE_WEBHOOKS, **kept}
    begin = time.monotonic()
    prune_all: Any = pruning.prune_bodies if what == "bodies" else pruning.prune_rows
    count = prune_all(show=lambda _count: None)
    return {"count": count, "seconds": time.monotonic() - begin}

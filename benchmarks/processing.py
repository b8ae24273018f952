"""How many deliveries a process runs through one receiver that does nothing, and two processes.

Each process does what `perfsee_sweep` does with `PROCESSING = "inline"`, on PostgreSQL with fsync
on. A replay opens all of them again, for all receivers, and carries that out in the same way.
"""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any, Final

from .databases import created
from .plans import recording
from .servers import durable_postgresql
from .site import Worker, answer_of
from .table import Figure, Report, figure

PER_SECOND: Final = 500
TWO_AS_ONE: Final = 1.7
REPLAY_AS_FIRST: Final = 1.2
_ROUNDS: Final = 3
_FILL: Final = "benchmarks.filling:fill_waiting"
_PROCESS: Final = "benchmarks.processing:process"


def run(*, full: bool) -> Report:
    """Measure on a server of its own."""
    with durable_postgresql() as server:
        figures = measure(created(server, "processing"), 10_000 if full else 2_000)
    return Report(figures=figures)


def measure(url: str, number: int) -> list[Figure]:
    """Measure on one database, which gets the tables."""
    one: list[float] = []
    two: list[float] = []
    first: list[float] = []
    replayed: list[float] = []
    statements = 0.0
    for _round in range(_ROUNDS):
        (alone,) = _work(url, number, workers=1, then_replay=True)
        one.append(alone["count"] / alone["seconds"])
        first.append(alone["seconds"])
        replayed.append(alone["replay_seconds"])
        statements = alone["statements"]
        both = _work(url, number, workers=2)
        seconds = max(each["ended"] for each in both) - min(each["began"] for each in both)
        two.append(sum(each["count"] for each in both) / seconds)
    note = f"{statements:.1f} statements each"
    return [
        figure(
            "deliveries a second, one process", one, [1] * _ROUNDS, at_least=PER_SECOND, note=note
        ),
        figure("two processes / one", two, one, at_least=TWO_AS_ONE),
        figure(f"replay of {number:,} / first", replayed, first, at_most=REPLAY_AS_FIRST),
    ]


def _work(
    url: str, number: int, *, workers: int, then_replay: bool = False
) -> list[dict[str, Any]]:
    """Have so many deliveries processed by so many processes, which begin together."""
    answer_of(url, _FILL, number=number)
    started = [Worker(url, _PROCESS, then_replay=then_replay) for _ in range(workers)]
    for worker in started:
        worker.begin()
    return [worker.answer() for worker in started]


def process(*, then_replay: bool) -> dict[str, float]:
    """Process all that waits, as the sweep does, and say how long it took."""
    # The models can be imported only once Django is set up.
    from django.utils import timezone

    from perfsee_webhooks import replay as replaying
    from perfsee_webhooks.models import Replay
    from perfsee_webhooks.sweep import sweep

    connect_only(do_nothing)
    began = time.time()
    with recording() as recorder:
        report = sweep(batch_size=100)
    ended = time.time()
    count = report.endings.total() - report.endings["nothing to do"]
    told = {
        "count": count,
        "began": began,
        "ended": ended,
        "seconds": ended - began,
        "statements": len(recorder.statements) / max(count, 1),
    }
    if then_replay:
        begin = time.time()
        order = replaying.Order(receivers=Replay.Receivers.ALL)
        started = replaying.start(replaying.Selection(), order, requested_by="someone")
        replaying.carry_out(started.pk, until=timezone.now() + timedelta(hours=1))
        told["replay_seconds"] = time.time() - begin
    return told


def connect_only(receiver: Any) -> None:
    """Let one receiver of every event be the only one."""
    from perfsee_webhooks import signals
    from perfsee_webhooks.models import Delivery

    for connected in signals.connected_receivers(sender=Delivery):
        connected.signal.disconnect(connected.function)
    signals.delivery_received.connect(receiver, weak=False)


def do_nothing(sender: Any, **given: Any) -> None:
    """Be a receiver."""

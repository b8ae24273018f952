"""What happened to a delivery: its arrivals and the runs of its receivers, oldest first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Final, Self

from django.db.models import Count, Window

from ..envelope import UNSIGNED
from ..models import Delivery, ReceiverRun, Replay
from ..models.arrivals import Arrival

MAX_SHOWN_RUNS: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One thing that happened: an arrival, repeats that were only counted, or a run."""

    at: datetime
    arrival: Arrival | None = None
    is_first: bool = False
    further_repeats: int = 0
    run: ReceiverRun | None = None

    @property
    def replay(self) -> Replay | None:
        """The replay that it was part of."""
        return self.run.replay if self.run else None

    @property
    def is_signed(self) -> bool:
        """Whether a secret vouched for the body when it arrived."""
        return self.arrival is not None and self.arrival.verified_by != UNSIGNED


@dataclass(frozen=True, slots=True, kw_only=True)
class Chapter:
    """What happened in a row, within one replay or within none."""

    replay: Replay | None
    moments: tuple[Moment, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """All that happened, with the run that says why the delivery has not succeeded."""

    chapters: tuple[Chapter, ...]
    has_runs: bool
    earlier_runs: int
    run_to_look_at: ReceiverRun | None

    @classmethod
    def of(cls, delivery: Delivery) -> Self:
        """Read the latest runs, with their replays and how many there are: one statement."""
        counted = delivery.runs.select_related("replay").annotate(of_all=Window(Count("pk")))
        latest = list(counted.order_by("-started_at", "-pk")[:MAX_SHOWN_RUNS])
        of_all: int = latest[0].of_all if latest else 0  # type: ignore[attr-defined]  # annotated
        runs: list[ReceiverRun] = [*reversed(latest)]
        moments = sorted((*_arrivals(delivery), *_runs(runs)), key=lambda moment: moment.at)
        chapters = [
            Chapter(replay=replay, moments=tuple(group))
            for replay, group in groupby(moments, key=lambda moment: moment.replay)
        ]
        replayed = {run.replay_id for run in runs}
        if delivery.replay_id and delivery.replay_id not in replayed:
            chapters.append(Chapter(replay=delivery.replay))
        return cls(
            chapters=tuple(chapters),
            has_runs=bool(runs),
            earlier_runs=of_all - len(runs),
            run_to_look_at=_to_look_at(delivery, runs),
        )


def _arrivals(delivery: Delivery) -> Iterator[Moment]:
    arrivals = delivery.arrivals
    for number, arrival in enumerate(arrivals):
        yield Moment(at=arrival.received_at, arrival=arrival, is_first=number == 0)
    further = delivery.repeats - (len(arrivals) - 1)
    if further > 0 and delivery.last_repeated_at:
        yield Moment(at=delivery.last_repeated_at, further_repeats=further)


def _runs(runs: list[ReceiverRun]) -> Iterator[Moment]:
    yield from (Moment(at=run.started_at, run=run) for run in runs)


def _to_look_at(delivery: Delivery, runs: list[ReceiverRun]) -> ReceiverRun | None:
    """Return the latest run that says why a delivery has not succeeded."""
    if delivery.state == Delivery.State.SUCCEEDED:
        return None
    return next((run for run in reversed(runs) if run.outcome != run.Outcome.SUCCEEDED), None)

"""The figures that a person on call looks at: what waits, what fails, and how long it all takes.

Each function that reads the database makes one statement or two, whatever the number of rows, and
none loads a body or a header.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import quantiles
from typing import Any, Final

from django.db.models import Count, Min, Q, Sum

from ..conf import webhook_settings
from ..models import Delivery, ReceiverRun, Rejection, Replay
from ..models.queries import WAITING, DeliveryState
from ..stats import is_sweep_missed, last_swept_at

LATEST_RUNS: Final = 5_000
MAX_REPLAYS: Final = 20

Outcome = ReceiverRun.Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The deliveries that stand in one state, of those that have not succeeded."""

    state: DeliveryState
    number: int = 0
    overdue: int = 0
    oldest_received_at: datetime | None = None
    first_due_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepLife:
    """When the sweep last ran, and whether deliveries wait for it in vain."""

    beat_at: datetime | None
    is_missed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusals:
    """The requests that were refused for one reason; `not_kept` ones were only counted."""

    reason: str
    kept: int
    not_kept: int

    @property
    def label(self) -> str:
        """The reason in words."""
        return dict(Rejection.Reason.choices).get(self.reason, self.reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverTimes:
    """How long a receiver took in its latest runs, and how many of those failed.

    A lost run has failed, but nobody knows how long it took. Both times are None if all were lost.
    """

    receiver: str
    runs: int
    failed: int
    p50: timedelta | None
    p95: timedelta | None

    @property
    def failed_percent(self) -> float:
        """The failed runs in percent."""
        return 100 * self.failed / self.runs


def standing(now: datetime) -> dict[str, Standing]:
    """Return what has not succeeded, by state; each of these states is there, if with nothing."""
    unsettled = Delivery.objects.exclude(state=DeliveryState.SUCCEEDED).order_by()
    # By the index alone: what is dead or unhandled may be many, and is due no more.
    counted = unsettled.values("state").annotate(
        number=Count("*"), oldest_received_at=Min("received_at")
    )
    overdue = Delivery.objects.overdue(now, grace=webhook_settings.lease)
    waiting = unsettled.filter(state__in=(*WAITING, DeliveryState.PROCESSING))
    due = waiting.values("state").annotate(
        overdue=Count("pk", filter=Q(pk__in=overdue.values("pk"))),
        first_due_at=Min("next_attempt_at"),
    )
    figures: dict[str, dict[str, Any]] = {
        state: {} for state in DeliveryState if state != DeliveryState.SUCCEEDED
    }
    for row in (*counted, *due):
        figures[row["state"]] |= row
    return {
        state: Standing(**(of_state | {"state": DeliveryState(state)}))
        for state, of_state in figures.items()
    }


def sweep_life(standings: Mapping[str, Standing], now: datetime) -> SweepLife:
    """Return when the sweep last ran, and whether anything waits for it."""
    beat_at = last_swept_at()
    overdue = sum(item.overdue for item in standings.values())
    failed = standings[DeliveryState.FAILED].number
    is_missed = is_sweep_missed(beat_at, now, overdue=overdue, failed=failed)
    return SweepLife(beat_at=beat_at, is_missed=is_missed)


def open_replays() -> list[Replay]:
    """Return the newest replays that are running or paused, `MAX_REPLAYS` at most."""
    return list(
        Replay.objects.filter(state__in=(Replay.State.RUNNING, Replay.State.PAUSED))[:MAX_REPLAYS]
    )


def refusals(since: datetime) -> list[Refusals]:
    """Return the requests that were refused since a moment, by reason, the most frequent first."""
    rows = (
        Rejection.objects.filter(received_at__gte=since, accepted_at=None)
        .order_by()
        .values("reason")
        .annotate(kept=Count("pk"), not_kept=Sum("not_kept"))
    )
    return sorted(
        (Refusals(**row) for row in rows),
        key=lambda refused: (-refused.kept - refused.not_kept, refused.reason),
    )


def receivers() -> list[ReceiverTimes]:
    """Return how long each receiver took in the latest `LATEST_RUNS` runs, the slowest first.

    Before these come those that were lost each time.
    """
    latest = ReceiverRun.objects.order_by("-pk").values_list("receiver", "outcome", "duration")
    runs: dict[str, list[tuple[str, timedelta]]] = defaultdict(list)
    for receiver, outcome, duration in latest[:LATEST_RUNS]:
        runs[receiver].append((outcome, duration))
    return sorted(
        (_times(receiver, of_receiver) for receiver, of_receiver in runs.items()),
        key=lambda times: (times.p95 is not None, -(times.p95 or timedelta(0)), times.receiver),
    )


def _times(receiver: str, runs: list[tuple[str, timedelta]]) -> ReceiverTimes:
    outcomes = Counter(outcome for outcome, _duration in runs)
    seconds = [duration.total_seconds() for outcome, duration in runs if outcome != Outcome.LOST]
    return ReceiverTimes(
        receiver=receiver,
        runs=len(runs),
        failed=outcomes[Outcome.FAILED] + outcomes[Outcome.LOST],
        p50=_quantile(seconds, 50),
        p95=_quantile(seconds, 95),
    )


def _quantile(seconds: list[float], percent: int) -> timedelta | None:
    if not seconds:
        return None
    # Two points are the fewest that Python before 3.13 takes.
    points = seconds if len(seconds) > 1 else seconds * 2
    return timedelta(seconds=quantiles(points, n=100, method="inclusive")[percent - 1])

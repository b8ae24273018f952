"""What a monitor asks of the log: what waits, what is dead, and whether the sweep is alive.

It is cheap however many deliveries there are: each statement reads a stretch of one index, and no
count goes beyond `MAX_COUNTED`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.db import connections
from django.db.models import Count, Exists, Min, OuterRef, Q, Sum
from django.utils import timezone

from .conf import webhook_settings
from .models import Delivery, DeliveryQuerySet, Heartbeat, Rejection, Replay
from .models.heartbeat import SWEEP
from .models.queries import WAITING, DeliveryState

MAX_COUNTED: Final = 10_000

State = DeliveryState

_HOUR: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """Where the site stands, for a monitor.

    A count of `MAX_COUNTED` means "at least so many": no more rows than that are looked at.

    measured_at:        the moment that all of it is about
    received:           deliveries whose turn is to come at once
    processing:         deliveries that a process is running, or was when it died
    failed:             deliveries that wait for another attempt, be it due or not
    dead:               deliveries whose last attempt failed: nothing more will be done about them
    due:                received and failed ones whose attempt is due
    overdue:            those that nobody was told of within `LEASE`, abandoned ones among them:
                        they wait for the sweep
    longest_wait:       for how long the one that is due the longest has been due; None if none is.
                        A delivery that is replayed is due from its replay on.
    last_received_at:   when a delivery last came for the first time; None if none ever did
    last_swept_at:      when a sweep last began; None if none ever did
    is_sweep_missed:    whether no sweep ran within `LEASE` although deliveries wait for it
    refused_last_hour:  requests that were refused within the last hour and not accepted since,
                        with those that were only counted
    replays_running:    replays that have deliveries left to open, and are not paused
    replays_stalled:    those of them that nobody is at work on, though their next batch is due
    """

    measured_at: datetime
    received: int
    processing: int
    failed: int
    dead: int
    due: int
    overdue: int
    longest_wait: timedelta | None
    last_received_at: datetime | None
    last_swept_at: datetime | None
    is_sweep_missed: bool
    refused_last_hour: int
    replays_running: int
    replays_stalled: int

    @property
    def waiting(self) -> int:
        """How many deliveries wait for an attempt, be it due or not."""
        return self.received + self.failed


def stats(using: str | None = None) -> Stats:
    """Return where the site stands now, in ten statements.

    It leaves no connection open that it did not find open, so that any thread may call it.

    using: the alias of the database to ask, such as a replica; None for the one that deliveries
           are written to

    Raises:
        DatabaseError: the tables could not be read.
    """
    database = using or Delivery.objects.on_primary().db
    with connections[database].temporary_connection():
        return _measure(database, timezone.now())


def last_swept_at(using: str | None = None) -> datetime | None:
    """Return when a sweep last began, None if none ever did; one statement."""
    beats = Heartbeat.objects.using(using).filter(name=SWEEP)
    return beats.values_list("beat_at", flat=True).first()


def is_sweep_missed(swept_at: datetime | None, now: datetime, *, overdue: int, failed: int) -> bool:
    """Say whether no sweep ran within `LEASE` although so many deliveries wait for one."""
    is_silent = swept_at is None or now - swept_at > webhook_settings.lease
    return is_silent and bool(overdue or failed)


def _measure(database: str, now: datetime) -> Stats:
    deliveries = Delivery.objects.using(database)
    due = _unsettled(deliveries.waiting(now), *WAITING).aggregate(
        number=Count("pk"), since=Min("next_attempt_at")
    )
    overdue = deliveries.overdue(now, grace=webhook_settings.lease)
    counts = {
        "received": _unsettled(deliveries, State.RECEIVED).count(),
        "processing": _unsettled(deliveries, State.PROCESSING).count(),
        "failed": _unsettled(deliveries, State.FAILED).count(),
        "dead": _unsettled(deliveries, State.DEAD).count(),
        "overdue": _unsettled(overdue, *WAITING, State.PROCESSING).count(),
    }
    newest = deliveries.order_by("-received_at", "-pk").values_list("received_at", flat=True)
    swept_at = last_swept_at(database)
    replays = _replays(database, now)
    return Stats(
        measured_at=now,
        **counts,
        due=due["number"],
        # The clock of the machine that stored it may be ahead.
        longest_wait=max(now - due["since"], timedelta(0)) if due["since"] else None,
        last_received_at=newest.first(),
        last_swept_at=swept_at,
        is_sweep_missed=is_sweep_missed(
            swept_at, now, overdue=counts["overdue"], failed=counts["failed"]
        ),
        refused_last_hour=_refused(database, now - _HOUR),
        replays_running=replays["running"],
        replays_stalled=replays["stalled"],
    )


def _unsettled(deliveries: DeliveryQuerySet, *states: DeliveryState) -> DeliveryQuerySet:
    """Return at most `MAX_COUNTED` of those in some states, by the index of what is unsettled.

    SQLite uses a partial index only if its condition is in the statement word for word.
    """
    found = deliveries.exclude(state=State.SUCCEEDED).filter(state__in=states)
    return found.order_by()[:MAX_COUNTED]


def _refused(database: str, since: datetime) -> int:
    refused = Rejection.objects.using(database).filter(received_at__gte=since, accepted_at=None)
    found = refused.order_by()[:MAX_COUNTED].aggregate(kept=Count("pk"), not_kept=Sum("not_kept"))
    number: int = found["kept"] + (found["not_kept"] or 0)
    return min(number, MAX_COUNTED)


def _replays(database: str, now: datetime) -> dict[str, int]:
    """Count the running replays, and those that have stalled as `replay.is_stalled` says."""
    under_way = Delivery.objects.under_way().filter(replay=OuterRef("pk"))
    running = Replay.objects.using(database).running().order_by()
    return running.annotate(is_under_way=Exists(under_way))[:MAX_COUNTED].aggregate(
        running=Count("pk"),
        stalled=Count("pk", filter=Q(next_batch_at__lte=now, is_under_way=False)),
    )

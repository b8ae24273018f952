"""What a replay would do, counted on the real rows before anything runs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.db.models import Count, Q
from django.utils import timezone

from ..models import Delivery, DeliveryQuerySet, ReceiverRun, Replay
from ..models.queries import WAITING, waits_for_more
from ..selection import Selection
from ..signals import connected_receivers, named, receivers_of
from .order import Order, extent_of

SHOWN_DELIVERIES: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedReceiver:
    """How often a receiver would run, and how often of these although it has succeeded."""

    label: str
    runs: int
    again: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a replay would do.

    ceiling:    the primary key up to which deliveries are run
    matching:   deliveries that the selection finds; `MAX_COUNTED` + 1 stands for any larger number
    selected:   of these, those within the limit, counted as far
    looked_at:  of these, the first `MAX_LOOKED_AT`: all that follows is about them. Those behind
                them are run as well.
    opened:     of these, those that would be run again
    pruned:     left alone, since their bytes have been removed
    running:    left alone, since a process runs them just now
    waiting:    left alone, since they wait for an attempt of all their receivers, or of another
                replay that asks for more
    receivers:  the receivers that would run, most runs first
    gone:       receivers that ran on them in the past and are not connected any more, each with
                its number of deliveries
    first:      the first of the selected deliveries, without their bodies
    """

    ceiling: int
    matching: int
    selected: int
    looked_at: int
    opened: int
    pruned: int
    running: int
    waiting: int
    receivers: list[PlannedReceiver]
    gone: list[tuple[str, int]]
    first: list[Delivery]

    @property
    def reaches_further(self) -> bool:
        """Whether deliveries are run that were not looked at."""
        return self.looked_at < self.selected

    @property
    def left_out(self) -> int:
        """How many the limit leaves out, of those that were counted."""
        return self.matching - self.selected

    @property
    def runs(self) -> int:
        """How many runs of receivers there would be."""
        return sum(receiver.runs for receiver in self.receivers)

    @property
    def again(self) -> int:
        """How many of these runs are of receivers that have succeeded already."""
        return sum(receiver.again for receiver in self.receivers)


def plan(selection: Selection, order: Order | None = None) -> Plan:
    """Return what a replay would do if it were started now, without reading a body."""
    order = order or Order()
    extent = extent_of(selection, order.limit)
    # By their keys: what finds them may take long, and is asked for once.
    looked_at = Selection(primary_keys=extent.first).deliveries()
    now = timezone.now()
    opened = looked_at.replayable(now, only_settled=bool(order.only))
    by_event = opened.counted_by("event_type")
    will_be_opened = sum(by_event.values())
    shown = Selection(primary_keys=extent.first[:SHOWN_DELIVERIES])
    left_alone = _left_alone(looked_at, order, now)
    return Plan(
        ceiling=extent.ceiling,
        matching=extent.matching,
        selected=extent.selected,
        looked_at=len(extent.first),
        opened=will_be_opened,
        pruned=left_alone["pruned"],
        waiting=left_alone["waiting"],
        running=len(extent.first) - will_be_opened - left_alone["pruned"] - left_alone["waiting"],
        receivers=_receivers(by_event, opened, order),
        gone=_gone(looked_at),
        first=list(shown.deliveries().without_body()),
    )


def _left_alone(deliveries: DeliveryQuerySet, order: Order, now: datetime) -> dict[str, int]:
    pruned = Q(body_pruned_at__isnull=False)
    waiting = Q(state__in=WAITING) if order.only else waits_for_more(now)
    return deliveries.order_by().aggregate(
        pruned=Count("pk", filter=pruned), waiting=Count("pk", filter=waiting & ~pruned)
    )


def _receivers(
    by_event: dict[str, int], opened: DeliveryQuerySet, order: Order
) -> list[PlannedReceiver]:
    """Return the chosen receivers of these events, with how often each would run."""
    deliveries: Counter[str] = Counter()
    succeeded: Counter[str] = Counter()
    has_succeeded = _succeeded(opened)
    for event_type, count in by_event.items():
        for receiver in named(receivers_of(event_type, sender=Delivery), order.only):
            deliveries[receiver.label] += count
            succeeded[receiver.label] += has_succeeded.get((receiver.label, event_type), 0)
    runs_again = order.receivers == Replay.Receivers.ALL
    planned = [
        PlannedReceiver(
            label=label,
            runs=count if runs_again else count - succeeded[label],
            again=succeeded[label] if runs_again else 0,
        )
        for label, count in deliveries.items()
    ]
    return sorted(planned, key=lambda receiver: (-receiver.runs, receiver.label))


def _succeeded(opened: DeliveryQuerySet) -> dict[tuple[str, str], int]:
    """Count for each receiver and event the deliveries on which its last run succeeded."""
    runs = ReceiverRun.objects.using(opened.db).filter(
        outcome=ReceiverRun.Outcome.SUCCEEDED, delivery__in=opened.order_by()
    )
    counted = runs.latest_of_receiver().order_by().values("receiver", "delivery__event_type")
    return {
        (row["receiver"], row["delivery__event_type"]): row["runs"]
        for row in counted.annotate(runs=Count("pk"))
    }


def _gone(deliveries: DeliveryQuerySet) -> list[tuple[str, int]]:
    connected = [receiver.label for receiver in connected_receivers(sender=Delivery)]
    runs = ReceiverRun.objects.using(deliveries.db).filter(delivery__in=deliveries.order_by())
    gone = runs.exclude(receiver__in=connected).order_by().values_list("receiver")
    return sorted(gone.annotate(Count("delivery", distinct=True)))

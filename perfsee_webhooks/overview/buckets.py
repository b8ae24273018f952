"""Deliveries counted by the hour and by the day that they came, in the current time zone."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from datetime import timezone as fixed_timezone
from typing import Final

from django.db.models import Count, Max, Min
from django.db.models.functions import TruncDate, TruncHour
from django.utils import timezone

from ..models import Delivery
from .rhythms import Arrivals

HOURS: Final = 24
DAYS: Final = 30
MIN_DAYS: Final = 7
# Of a site that receives more within `DAYS`, fewer days are counted.
MAX_ARRIVALS: Final = 100_000

State = Delivery.State

_HOUR: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """The deliveries that came within a stretch of time, counted by the state they are in now.

    The moments are in the current time zone.
    """

    start: datetime
    end: datetime
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureRate:
    """How many of the deliveries that were processed have failed, for now or for good."""

    failed: int
    processed: int

    @classmethod
    def of(cls, buckets: Iterable[Bucket]) -> FailureRate:
        """Return the rate over some buckets; what has not been processed yet says nothing."""
        counts: Counter[str] = Counter()
        for bucket in buckets:
            counts.update(bucket.counts)
        failed = counts[State.FAILED] + counts[State.DEAD]
        processed = failed + counts[State.SUCCEEDED] + counts[State.UNHANDLED]
        return cls(failed=failed, processed=processed)

    @property
    def percent(self) -> float | None:
        """The failed ones in percent; None if nothing was processed."""
        return 100 * self.failed / self.processed if self.processed else None


def hours(now: datetime) -> list[Bucket]:
    """Return the hours of the last day, the current one last.

    An hour that a change of the clocks repeats is two hours: they are counted at the offset that
    is in force now, which knows no such change.
    """
    local = _local(now)
    offset = local.utcoffset()
    zone = None if offset is None else fixed_timezone(offset)
    newest = local.replace(minute=0, second=0, microsecond=0, tzinfo=zone)
    starts = [newest - (HOURS - 1 - number) * _HOUR for number in range(HOURS)]
    rows = (
        Delivery.objects.filter(received_at__gte=starts[0], received_at__lt=newest + _HOUR)
        .order_by()
        .values_list(TruncHour("received_at", tzinfo=zone), "state")
        .annotate(number=Count("*"))
    )
    counts: dict[datetime, dict[str, int]] = defaultdict(dict)
    for start, state, number in rows:
        counts[start][state] = number
    return [
        Bucket(start=_local(start), end=_local(start + _HOUR), counts=counts[start])
        for start in starts
    ]


def counted_days(now: datetime) -> int:
    """Return for how many days there are figures: whole ones, today included.

    `DAYS`, or fewer if more than `MAX_ARRIVALS` deliveries came within them, but never fewer than
    `MIN_DAYS`: who has gone silent is seen in them.
    """
    newest = Delivery.objects.order_by("-received_at", "-pk").values_list("received_at", flat=True)
    beyond = newest[MAX_ARRIVALS : MAX_ARRIVALS + 1].first()
    if beyond is None:
        return DAYS
    whole = (_local(now).date() - _local(beyond).date()).days
    return min(max(whole, MIN_DAYS), DAYS)


def arrivals(now: datetime, number: int = DAYS) -> list[Arrivals]:
    """Return what came within so many days, today included."""
    first, zone = _first_day(now, number), _local(now).tzinfo
    rows = (
        Delivery.objects.filter(
            received_at__gte=_midnight(first, now),
            received_at__lt=_midnight(first + timedelta(days=number), now),
        )
        .order_by()
        .values("project", "hook_id", "state", day=TruncDate("received_at", tzinfo=zone))
        .annotate(number=Count("*"), first_at=Min("received_at"), last_at=Max("received_at"))
    )
    return [Arrivals(**row) for row in rows]


def days(arrived: Iterable[Arrivals], now: datetime, number: int = DAYS) -> list[Bucket]:
    """Return so many last days, today last, from what came within them."""
    counts: dict[date, Counter[str]] = defaultdict(Counter)
    for item in arrived:
        counts[item.day][item.state] += item.number
    first = _first_day(now, number)
    dates = [first + timedelta(days=index) for index in range(number)]
    return [
        Bucket(
            start=_midnight(day, now),
            end=_midnight(day + timedelta(days=1), now),
            counts=counts[day],
        )
        for day in dates
    ]


def _local(moment: datetime) -> datetime:
    """Return a moment in the current time zone; without `USE_TZ` all moments are in it."""
    return timezone.localtime(moment) if timezone.is_aware(moment) else moment


def _first_day(now: datetime, number: int) -> date:
    return _local(now).date() - timedelta(days=number - 1)


def _midnight(day: date, now: datetime) -> datetime:
    return datetime.combine(day, time.min, tzinfo=_local(now).tzinfo)

"""The overview: what a person on call looks at first, on one page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode

from django.contrib.admin import ModelAdmin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import dateformat, timezone

from ..conf import webhook_settings
from ..models.queries import DeliveryState
from ..overview import buckets, statistics
from ..overview.buckets import Bucket, FailureRate
from ..overview.charts import Chart, Stack, stacked
from ..overview.failure_groups import MAX_FAILURES, MAX_GROUPS, failure_groups
from ..overview.rhythms import rhythms
from ..overview.statistics import Refusals
from .base import may
from .planning import may_replay

OVERVIEW_URL: Final = "perfsee_webhooks_overview"
MAX_RHYTHMS: Final = 50

_DAY: Final = timedelta(days=1)

# From the bottom of a bar to its top: what went well stands firm, what is wrong sticks out.
_LAYERS: Final = (
    DeliveryState.SUCCEEDED,
    DeliveryState.UNHANDLED,
    DeliveryState.RECEIVED,
    DeliveryState.PROCESSING,
    DeliveryState.FAILED,
    DeliveryState.DEAD,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """A chart with its legend, the same numbers as a table, and what they come to."""

    unit: str
    number: int
    described: str
    chart: Chart
    legend: Sequence[tuple[str, str, int]]
    rows: Sequence[tuple[str, Sequence[int]]]
    rate: FailureRate
    total: int


def overview_view(request: HttpRequest, *, model_admin: ModelAdmin[Any]) -> HttpResponse:
    """Show the overview to whoever may view deliveries.

    It makes thirteen statements: one for the hours of the last day, two for the days of the month
    by project and hook, one for the runs, two for what has not succeeded, one each for the sweep,
    the replays and the refused requests, and four for the groups of failures; those of the replays
    and the refused requests only for whoever may view them.

    Raises:
        PermissionDenied: the user may not view deliveries.
    """
    if not model_admin.has_view_permission(request):
        raise PermissionDenied
    now = timezone.now()
    admin_site = model_admin.admin_site
    request.current_app = admin_site.name  # which {% url %} reads
    context = {
        **admin_site.each_context(request),
        "title": "Overview",
        "opts": model_admin.opts,
        "media": model_admin.media,
        "now": now,
        "can_replay": may_replay(request),
        **_of_now(request, now),
        **_of_month(now),
    }
    return TemplateResponse(request, "admin/perfsee_webhooks/overview.html", context)


def _of_now(request: HttpRequest, now: datetime) -> dict[str, Any]:
    """Return what waits, what is at work on it, and what was refused."""
    standings = statistics.standing(now)
    may_view_rejections = may(request, "view_rejection")
    may_view_replays = may(request, "view_replay")
    since = now - _DAY
    refusals = statistics.refusals(since) if may_view_rejections else []
    return {
        "standings": standings,
        "unsettled": [item for item in standings.values() if item.number],
        "overdue": sum(item.overdue for item in standings.values()),
        "lease": webhook_settings.lease,
        "sweep": statistics.sweep_life(standings, now),
        "may_view_rejections": may_view_rejections,
        "refusals": [(item, _query_of(item, since)) for item in refusals],
        "refused": sum(item.kept for item in refusals),
        "not_kept": sum(item.not_kept for item in refusals),
        "replays": statistics.open_replays() if may_view_replays else [],
    }


def _of_month(now: datetime) -> dict[str, Any]:
    """Return what came, how the receivers did, and who has gone silent."""
    counted_days = buckets.counted_days(now)
    arrived = buckets.arrivals(now, counted_days)
    known = rhythms(arrived, now)
    receivers = statistics.receivers()
    return {
        "panels": [_hours(buckets.hours(now)), _days(buckets.days(arrived, now, counted_days))],
        "receivers": receivers,
        "runs": sum(times.runs for times in receivers),
        "max_runs": statistics.LATEST_RUNS,
        "groups": failure_groups(now - buckets.DAYS * _DAY),
        "max_groups": MAX_GROUPS,
        "max_failures": MAX_FAILURES,
        "days": buckets.DAYS,
        "counted_days": counted_days,
        "max_arrivals": buckets.MAX_ARRIVALS,
        "min_days": buckets.MIN_DAYS,
        "rhythms": known[:MAX_RHYTHMS],
        "rhythms_left_out": max(len(known) - MAX_RHYTHMS, 0),
        "silent": [rhythm for rhythm in known if rhythm.is_silent],
    }


def _query_of(refusals: Refusals, since: datetime) -> str:
    """Return the query of the list of rejections that shows these."""
    return urlencode({"reason__exact": refusals.reason, "received_at__gte": since.isoformat(" ")})


def _hours(hours: Sequence[Bucket]) -> Panel:
    offsets = {moment.utcoffset() for hour in hours for moment in (hour.start, hour.end)}
    # Where the clocks were changed, only the name of the zone tells two hours apart.
    written = "%H:%M" if len(offsets) == 1 else "%H:%M %Z"
    labels = [f"{hour.start:{written}}–{hour.end:{written}}" for hour in hours]
    ticks = [f"{hour.start:%H:%M}" for hour in hours]
    return _panel("hour", hours, labels, _every(4, ticks))


def _days(days: Sequence[Bucket]) -> Panel:
    labels = [dateformat.format(day.start, "D Y-m-d") for day in days]
    ticks = [dateformat.format(day.start, "j M") for day in days]
    return _panel("day", days, labels, _every(5, ticks))


def _every(distance: int, ticks: Sequence[str]) -> list[str]:
    """Return the last tick and each one that is so far before it; the others are empty."""
    last = len(ticks) - 1
    return [tick if (last - index) % distance == 0 else "" for index, tick in enumerate(ticks)]


def _panel(unit: str, of_unit: Sequence[Bucket], labels: list[str], ticks: list[str]) -> Panel:
    counted = [{state: bucket.counts.get(state, 0) for state in _LAYERS} for bucket in of_unit]
    total = {state: sum(counts[state] for counts in counted) for state in _LAYERS}
    seen = [state for state in _LAYERS if total[state]]
    stacks = [
        Stack(title=f"{label}: {_in_words(counts)}", tick=tick, counts=list(counts.items()))
        for label, tick, counts in zip(labels, ticks, counted, strict=True)
    ]
    return Panel(
        unit=unit,
        number=len(of_unit),
        described=f"From {labels[0]} to {labels[-1]}: {_in_words(total)}.",
        chart=stacked(stacks),
        legend=[(state, state.label, total[state]) for state in seen],
        rows=[
            (label, [counts[state] for state in seen])
            for label, counts in zip(labels, counted, strict=True)
        ],
        rate=FailureRate.of(of_unit),
        total=sum(total.values()),
    )


def _in_words(counts: Mapping[DeliveryState, int]) -> str:
    """Say how many deliveries are in each state."""
    named = [f"{counts[state]:,} {state.label.lower()}" for state in _LAYERS if counts[state]]
    return ", ".join(named) or "none"

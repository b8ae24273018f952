"""Failures that are alike: the same receiver, type of exception and place."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.db.models import Count, Max, Min

from ..models import ReceiverRun
from ..models.run import ReceiverRunQuerySet

MAX_GROUPS: Final = 20
# How many failures are counted: the newest. After an outage there may be as many as deliveries.
MAX_FAILURES: Final = 5_000
_MAX_LOOKED_AT: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureGroup:
    """Failures that are alike; `still_failing` is how many deliveries have not got beyond it.

    Of all failures, the newest `MAX_FAILURES` are counted.
    Of `latest`, the delivery has neither its body nor its headers.
    """

    key: str
    failures: int
    still_failing: int
    first_at: datetime
    last_at: datetime
    latest: ReceiverRun


def failure_groups(since: datetime) -> list[FailureGroup]:
    """Return the groups of failures since a moment: those that most still fail with come first.

    It makes four statements. At most `MAX_GROUPS` are returned, of the 200 that were seen last.
    """
    newest = _newest()
    groups = list(
        newest.filter(started_at__gte=since)
        .order_by()
        .values("failure_group")
        .annotate(
            failures=Count("pk"),
            first_at=Min("started_at"),
            last_at=Max("started_at"),
            latest=Max("pk"),
        )
        .order_by("-last_at", "-latest")[:_MAX_LOOKED_AT]
    )
    still_failing = _still_failing(newest, (group["failure_group"] for group in groups))

    # Sorting is stable: of those that as many fail with, the one that was seen last comes first.
    shown = sorted(groups, key=lambda group: -still_failing.get(group["failure_group"], 0))
    shown = shown[:MAX_GROUPS]
    latest = _with_deliveries(group["latest"] for group in shown)
    return [
        FailureGroup(
            key=group["failure_group"],
            failures=group["failures"],
            still_failing=still_failing.get(group["failure_group"], 0),
            first_at=group["first_at"],
            last_at=group["last_at"],
            latest=latest[group["latest"]],
        )
        for group in shown
        if group["latest"] in latest
    ]


def _newest() -> ReceiverRunQuerySet:
    """Return the newest `MAX_FAILURES` failures, by the primary key before them."""
    # None of them has succeeded: said for the sake of the index of those that have not.
    failures = ReceiverRun.objects.failures().exclude(outcome=ReceiverRun.Outcome.SUCCEEDED)
    keys = failures.order_by("-pk").values_list("pk", flat=True)
    before = keys[MAX_FAILURES : MAX_FAILURES + 1].first()
    return failures if before is None else failures.filter(pk__gt=before)


def _still_failing(failures: ReceiverRunQuerySet, keys: Iterable[str]) -> dict[str, int]:
    """Return for each of these keys the deliveries that `Delivery.objects.failing_with` finds."""
    rows = (
        failures.filter(failure_group__in=list(keys))
        .latest_of_receiver()
        .order_by()
        .values_list("failure_group")
        .annotate(deliveries=Count("delivery", distinct=True))
    )
    return dict(rows)


def _with_deliveries(primary_keys: Iterable[int]) -> dict[int, ReceiverRun]:
    runs = ReceiverRun.objects.select_related("delivery").only(
        "receiver",
        "exception",
        "place",
        "delivery__delivery_id",
        "delivery__summary",
    )
    return runs.in_bulk(list(primary_keys))

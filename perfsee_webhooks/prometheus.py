"""A collector for prometheus-client, which comes with the extra `prometheus`.

A site registers it in one line: `REGISTRY.register(PerfseeCollector())`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from django.db import Error as DatabaseFailure

from .log import ids
from .models import Delivery
from .stats import Stats, stats

try:
    from prometheus_client.core import GaugeMetricFamily
    from prometheus_client.registry import Collector
except ImportError as error:
    raise ImportError(
        "perfsee_webhooks.prometheus needs prometheus-client: "
        "pip install 'django-perfsee-webhooks[prometheus]'"
    ) from error

logger = logging.getLogger(__name__)


def _seconds(wait: timedelta | None) -> float:
    return wait.total_seconds() if wait else 0


def _timestamp(moment: datetime | None) -> float | None:
    return moment.timestamp() if moment else None


# A name without what they all begin with, its help, and the value; None has no sample.
_GAUGES: Final[Sequence[tuple[str, str, Callable[[Stats], float | None]]]] = (
    ("due", "Deliveries whose next attempt is due.", lambda found: found.due),
    (
        "overdue",
        "Deliveries that wait for the sweep: nobody was told of them within LEASE.",
        lambda found: found.overdue,
    ),
    (
        "longest_wait_seconds",
        "For how long the delivery that is due the longest has been due; 0 if none is due.",
        lambda found: _seconds(found.longest_wait),
    ),
    (
        "last_received_timestamp_seconds",
        "When a delivery last came for the first time.",
        lambda found: _timestamp(found.last_received_at),
    ),
    (
        "last_swept_timestamp_seconds",
        "When a sweep last began.",
        lambda found: _timestamp(found.last_swept_at),
    ),
    (
        "sweep_missed",
        "Whether no sweep ran within LEASE although deliveries wait for it.",
        lambda found: found.is_sweep_missed,
    ),
    (
        "refused_last_hour",
        "Requests that were refused within the last hour.",
        lambda found: found.refused_last_hour,
    ),
    (
        "replays_running",
        "Replays that have deliveries left to open, and are not paused.",
        lambda found: found.replays_running,
    ),
    (
        "replays_stalled",
        "Running replays that nobody is at work on.",
        lambda found: found.replays_stalled,
    ),
)


class PerfseeCollector(Collector):
    """Gauges of where the site stands, read from the database at each scrape.

    All processes of a site would tell the same, so one of them is enough to be asked. A count is
    10,000 at most. A moment that never was has no sample; while the tables cannot be read there is
    no sample but that of `perfsee_webhooks_up`, which is 0.

    using: the alias of the database to ask; None for the one that deliveries are written to
    """

    def __init__(self, using: str | None = None) -> None:
        self.using = using

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Yield the gauges without a value: to register them needs no database."""
        yield _up(None)
        yield from _gauges(None)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the gauges, in ten statements."""
        try:
            found = stats(self.using)
        except DatabaseFailure:
            logger.exception(
                "The tables of the deliveries could not be read for Prometheus.",
                extra=ids(database=self.using or Delivery.objects.on_primary().db),
            )
            found = None
        yield _up(found is not None)
        if found is not None:
            yield from _gauges(found)


def _up(value: float | None) -> GaugeMetricFamily:
    return GaugeMetricFamily(
        "perfsee_webhooks_up", "Whether the tables of the deliveries could be read.", value
    )


def _gauges(found: Stats | None) -> Iterator[GaugeMetricFamily]:
    deliveries = GaugeMetricFamily(
        "perfsee_webhooks_deliveries", "Deliveries that are not done with.", labels=["state"]
    )
    if found:
        for state in ("received", "processing", "failed", "dead"):
            deliveries.add_metric([state], getattr(found, state))
    yield deliveries
    for name, text, value_of in _GAUGES:
        value = value_of(found) if found else None
        yield GaugeMetricFamily(f"perfsee_webhooks_{name}", text, value)

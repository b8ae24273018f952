"""A check for django-health-check: do deliveries wait for too long, and does the sweep run?

It comes with the extra `health`; its view takes the check by its dotted path.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from django.db import Error as DatabaseFailure

from .stats import stats

try:
    from health_check.base import HealthCheck  # type: ignore[import-untyped]  # it has no types
    from health_check.exceptions import (  # type: ignore[import-untyped]  # nor has this
        ServiceUnavailable,
        ServiceWarning,
    )
except ImportError as error:
    raise ImportError(
        "perfsee_webhooks.health needs django-health-check: "
        "pip install 'django-perfsee-webhooks[health]'"
    ) from error


@dataclass
class PerfseeWebhooks(HealthCheck):  # type: ignore[misc]  # which has no types
    """Is unavailable while a delivery waits for too long, or the sweep does not run.

    max_wait: for how long a delivery may be due before it is processed
    max_dead: how many deliveries may be dead before it warns; None for any number. They are dead
              until they are replayed, and are counted up to 10,000.
    using:    the alias of the database to ask; None for the one that deliveries are written to
    timeout:  for how long the database may take to answer
    """

    max_wait: timedelta = timedelta(minutes=15)
    max_dead: int | None = None
    using: str | None = None
    timeout: timedelta = field(default=timedelta(seconds=5), repr=False)

    def run(self) -> None:
        """Look at the stats.

        Raises:
            ServiceUnavailable: a delivery has been due for longer than `max_wait`; deliveries wait
                for a sweep, and none ran within `LEASE`; or the tables could not be read.
            ServiceWarning: more deliveries than `max_dead` are dead.
        """
        try:
            found = stats(self.using)
        except DatabaseFailure as error:
            raise ServiceUnavailable("The tables of the deliveries cannot be read.") from error
        if found.is_sweep_missed:
            raise ServiceUnavailable("Deliveries wait for a sweep, and none runs.")
        if found.longest_wait is not None and found.longest_wait > self.max_wait:
            seconds = found.longest_wait.total_seconds()
            raise ServiceUnavailable(f"A delivery has been due for {seconds:.0f} seconds.")
        if self.max_dead is not None and found.dead > self.max_dead:
            raise ServiceWarning(f"{found.dead} dead, which is more than {self.max_dead}.")

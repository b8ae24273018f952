"""A replay: who asked for which deliveries and receivers to run again, and how far it is."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Any, Final, Self

from django.db import models, router
from django.utils import timezone

from ..log import ids
from .run import MAX_ASKER_LENGTH

logger = logging.getLogger(__name__)

MAX_REASON_LENGTH: Final = 200
# How many of its deliveries are counted while somebody waits for it to be planned or started.
MAX_COUNTED: Final = 10_000


def counted(number: int) -> str:
    """Say a number of deliveries that was counted no further than `MAX_COUNTED` + 1."""
    return str(number) if number <= MAX_COUNTED else f"more than {MAX_COUNTED:,}"


class ReplayState(models.TextChoices):
    """How far a replay is with opening its deliveries; the last two are final."""

    RUNNING = "running"
    PAUSED = "paused"
    FINISHED = "finished"
    CANCELLED = "cancelled"


class ReplayQuerySet(models.QuerySet["Replay"]):
    """Replays by what is to be done about them."""

    def on_primary(self) -> Self:
        """Read from the database that is written to."""
        return self.using(router.db_for_write(self.model))

    def running(self) -> Self:
        """Replays that have deliveries left to open, and are not paused."""
        return self.filter(state=ReplayState.RUNNING)

    def due(self, moment: datetime) -> Self:
        """Running replays whose next batch was to be opened by this moment."""
        return self.running().filter(next_batch_at__lte=moment)


class Replay(models.Model):
    """One request to run deliveries again; each of them and each run of it points here.

    It goes through the deliveries that it selects in the order of their primary keys, a batch at
    a time. `cursor` is how far it has come, and each batch moves it with a compare-and-set, so
    that of several processes that carry on with it each batch is opened by one, once.
    """

    State = ReplayState

    class Receivers(models.TextChoices):
        """Which receivers of a delivery a replay runs."""

        FAILED = "failed", "Only receivers that have not succeeded"
        ALL = "all", "All receivers, also those that have succeeded"

    receivers = models.CharField(
        max_length=6,
        choices=Receivers,
        default=Receivers.FAILED,
        help_text="Which receivers are run.",
    )
    only = models.JSONField(
        default=list, blank=True, help_text="The names of the only receivers to run; empty for any."
    )
    selection = models.JSONField(
        default=dict, blank=True, help_text="Which deliveries it is for, as they were chosen."
    )
    state = models.CharField(
        max_length=9, choices=ReplayState, default=ReplayState.RUNNING, help_text="How far it is."
    )
    requested_by = models.CharField(max_length=MAX_ASKER_LENGTH, help_text="Who asked for it.")
    requested_at = models.DateTimeField(auto_now_add=True, help_text="When it was asked for.")
    reason = models.CharField(
        max_length=MAX_REASON_LENGTH, blank=True, help_text="Why it was asked for."
    )
    selected = models.PositiveIntegerField(
        null=True,
        default=0,
        help_text="How many deliveries it is for, from when it was started; of many, from when its "
        "first batch was opened, and empty before.",
    )
    accepted = models.PositiveIntegerField(
        default=0, help_text="How many deliveries were opened again."
    )
    skipped = models.PositiveIntegerField(
        default=0,
        help_text="How many were left alone: being run just then, or without their bytes.",
    )
    batch_size = models.PositiveIntegerField(
        default=100, help_text="How many deliveries are opened at once."
    )
    per_minute = models.PositiveIntegerField(
        null=True, blank=True, help_text="How many deliveries are opened in a minute at most."
    )
    cursor = models.BigIntegerField(
        default=0, help_text="The primary key of the last delivery that was looked at."
    )
    ceiling = models.BigIntegerField(
        default=0, help_text="The primary key of the last delivery that there was at its start."
    )
    next_batch_at = models.DateTimeField(
        default=timezone.now, help_text="From when on the next batch may be opened."
    )
    ended_at = models.DateTimeField(
        null=True, blank=True, help_text="When nothing was left to open, or it was cancelled."
    )

    objects = ReplayQuerySet.as_manager()

    class Meta:
        ordering = ("-requested_at", "-id")
        constraints = (
            models.CheckConstraint(
                name="perfsee_replay_receivers_known",
                condition=models.Q(receivers__in=("failed", "all")),
            ),
            models.CheckConstraint(
                name="perfsee_replay_state_known",
                condition=models.Q(state__in=("running", "paused", "finished", "cancelled")),
            ),
        )
        indexes = (
            models.Index(
                fields=("next_batch_at",),
                name="perfsee_replay_running",
                condition=models.Q(state="running"),
            ),
        )

    def __str__(self) -> str:
        return f"replay {self.pk} by {self.requested_by}"

    @property
    def looked_at(self) -> int:
        """How many of its deliveries have been opened or skipped."""
        return self.accepted + self.skipped

    @property
    def left(self) -> int | None:
        """How many of its deliveries are still to be opened or skipped; None if nobody knows."""
        return None if self.selected is None else max(self.selected - self.looked_at, 0)

    @property
    def of_how_many(self) -> str:
        """How many deliveries it is for, in words."""
        return counted(MAX_COUNTED + 1) if self.selected is None else str(self.selected)

    def count(self, selected: int) -> None:
        """Note how many deliveries it is for, unless that was known."""
        uncounted = Replay.objects.on_primary().filter(pk=self.pk, selected=None)
        uncounted.update(selected=selected)
        self.selected = selected

    def pause(self) -> bool:
        """Open no more deliveries for now; False if it is not running."""
        return self._change({self.State.RUNNING}, state=self.State.PAUSED)

    def resume(self) -> bool:
        """Go on after a pause; False if it is not paused."""
        return self._change({self.State.PAUSED}, state=self.State.RUNNING)

    def cancel(self) -> bool:
        """Open no more deliveries, ever; False if it has ended. What was opened still runs."""
        return self._change(
            {self.State.RUNNING, self.State.PAUSED},
            state=self.State.CANCELLED,
            ended_at=timezone.now(),
        )

    def finish(self) -> bool:
        """End: nothing is left to open; False if it is not running."""
        return self._change(
            {self.State.RUNNING}, state=self.State.FINISHED, ended_at=timezone.now()
        )

    def move(self, to: int, *, accepted: int, skipped: int, next_batch_at: datetime) -> bool:
        """Go on to another delivery; False if another process has, or it no longer runs."""
        return self._change(
            {self.State.RUNNING},
            seen_at=self.cursor,
            cursor=to,
            accepted=self.accepted + accepted,
            skipped=self.skipped + skipped,
            next_batch_at=next_batch_at,
        )

    def _change(
        self, states: set[ReplayState], *, seen_at: int | None = None, **changes: Any
    ) -> bool:
        as_it_was = Replay.objects.on_primary().filter(pk=self.pk, state__in=states)
        if seen_at is not None:
            as_it_was = as_it_was.filter(cursor=seen_at)
        if not as_it_was.update(**changes):
            return False
        for name, value in changes.items():
            setattr(self, name, value)
        if "state" in changes:
            logger.info("Replay %s is %s.", self.pk, self.state, extra=ids(replay=self.pk))
        return True

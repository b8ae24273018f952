"""The history of what each receiver did with each delivery."""

from __future__ import annotations

import hashlib
import re
import traceback as traceback_module
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Final, Self

from django.db import models, router
from django.utils import timezone

from ..exceptions import GiveUp
from ..signals import MAX_LABEL_LENGTH
from ..text import lines, one_line
from .delivery import Delivery
from .statements import Given, Statement, column_names, insert

MAX_ASKER_LENGTH: Final = 150
_MAX_EXCEPTION_LENGTH: Final = 500
_MAX_TRACEBACK_LENGTH: Final = 20_000
_MAX_PLACE_LENGTH: Final = 300
_PLACE: Final = re.compile(r'^  File "(.+?)", line (\d+), in ', re.MULTILINE)


class ReceiverRunQuerySet(models.QuerySet["ReceiverRun"]):
    """Runs by what became of them, and what followed."""

    def failures(self) -> Self:
        """Runs that ended in a failure, or that were lost."""
        return self.exclude(failure_group="")

    def latest_of_receiver(self) -> Self:
        """Runs after which the same receiver was not run again on the same delivery."""
        later = ReceiverRun.objects.filter(
            delivery=models.OuterRef("delivery"),
            receiver=models.OuterRef("receiver"),
            number__gt=models.OuterRef("number"),
        )
        return self.exclude(models.Exists(later))


class ReceiverRun(models.Model):
    """One run of one receiver on one delivery, committed together with what the receiver wrote."""

    class Outcome(models.TextChoices):
        """How a run ended; a lost one is of a process that did not live to tell."""

        SUCCEEDED = "succeeded"
        FAILED = "failed"
        LOST = "lost"

    class Trigger(models.TextChoices):
        """Why the receiver was run."""

        FIRST = "first"
        RETRY = "retry"
        REPLAY = "replay"

    delivery = models.ForeignKey(
        Delivery, on_delete=models.CASCADE, related_name="runs", db_index=False
    )
    receiver = models.CharField(
        max_length=MAX_LABEL_LENGTH, help_text="The dotted path of the receiver."
    )
    number = models.PositiveIntegerField(
        help_text="The how-manieth run of this receiver on this delivery, from 1."
    )
    attempt = models.PositiveIntegerField(
        help_text="In which attempt on the delivery it was run, from 1 since the last replay."
    )
    trigger = models.CharField(max_length=6, choices=Trigger, help_text="Why it was run.")
    outcome = models.CharField(max_length=9, choices=Outcome, help_text="How it ended.")
    started_at = models.DateTimeField(help_text="When the receiver was called.")
    duration = models.DurationField(help_text="How long the receiver took.")
    exception = models.CharField(
        max_length=_MAX_EXCEPTION_LENGTH, blank=True, help_text="What the receiver raised."
    )
    gave_up = models.BooleanField(
        default=False, help_text="Whether the receiver asked not to be run again."
    )
    traceback = models.TextField(blank=True, help_text="Where the receiver raised it.")
    place = models.CharField(
        max_length=_MAX_PLACE_LENGTH,
        blank=True,
        help_text="The innermost file and line of the traceback.",
    )
    failure_group = models.CharField(
        max_length=16,
        blank=True,
        help_text="The same for failures of one receiver, one type of exception and one place.",
    )
    replay = models.ForeignKey(
        "perfsee_webhooks.Replay",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        db_index=False,
        related_name="runs",
        help_text="The replay that it was part of.",
    )
    requested_by = models.CharField(
        max_length=MAX_ASKER_LENGTH, blank=True, help_text="Who asked for the replay."
    )

    objects = ReceiverRunQuerySet.as_manager()

    class Meta:
        ordering = ("started_at", "id")
        constraints = (
            models.UniqueConstraint(
                fields=("delivery", "receiver", "number"), name="perfsee_run_number_unique"
            ),
            models.CheckConstraint(
                name="perfsee_run_outcome_known",
                condition=models.Q(outcome__in=("succeeded", "failed", "lost")),
            ),
        )
        indexes = (
            # To look for a receiver or a replay that has few runs or none would else read them all.
            models.Index(fields=("receiver",), name="perfsee_run_receiver"),
            models.Index(
                fields=("replay",),
                name="perfsee_run_replayed",
                condition=models.Q(replay__isnull=False),
            ),
            models.Index(
                fields=("id",), name="perfsee_run_lost", condition=models.Q(outcome="lost")
            ),
            models.Index(
                # By which the newest of them are found, however rare they are.
                fields=("id",),
                name="perfsee_run_unsuccessful",
                condition=~models.Q(outcome="succeeded"),
            ),
            models.Index(
                # With what tells the latest of a receiver, so that the rows need not be looked at.
                fields=("failure_group", "delivery", "receiver", "number"),
                name="perfsee_run_failed",
                condition=~models.Q(failure_group=""),
            ),
        )

    def __str__(self) -> str:
        return f"{self.receiver} #{self.number} {self.outcome}"

    @property
    def duration_ms(self) -> float:
        """The duration in milliseconds."""
        return self.duration / timedelta(milliseconds=1)

    @property
    def exception_type(self) -> str:
        """The name of the exception's type."""
        return self.exception.partition(":")[0]

    @property
    def failure(self) -> str:
        """What a failure has in common with its like: receiver, type of exception, place."""
        place = f" at {self.place}" if self.place else ""
        return f"{self.receiver}: {self.exception_type}{place}"

    def succeed(self) -> None:
        """Store the run as succeeded, in the transaction of the receiver."""
        self._end(self.Outcome.SUCCEEDED)

    def fail(self, error: BaseException) -> None:
        """Store the run as failed, with the exception and its traceback."""
        self.describe(error)
        self._group()
        self.gave_up = isinstance(error, GiveUp)
        self._end(self.Outcome.FAILED)

    def lose(self) -> None:
        """Store the run as lost: the process that ran it did not live to tell."""
        self.exception = "worker lost: its lease ran out before the receiver was done"
        self._group()
        self._end(self.Outcome.LOST)

    def add_error_after_commit(self, error: BaseException) -> None:
        """Note on a succeeded run that one of its `on_commit` callbacks raised."""
        self.describe(error)
        self.save(update_fields=("exception", "traceback"))

    def describe(self, error: BaseException) -> None:
        """Set the exception and its traceback, as text that every database takes."""
        written = "".join(traceback_module.format_exception(error))
        named = f"{type(error).__qualname__}: {_message_of(error)}"
        self.exception = one_line(named, _MAX_EXCEPTION_LENGTH)
        self.traceback = lines(written, _MAX_TRACEBACK_LENGTH)

    def _group(self) -> None:
        places = _PLACE.findall(self.traceback)
        self.place = ":".join(places[-1])[-_MAX_PLACE_LENGTH:] if places else ""
        self.failure_group = hashlib.sha256(self.failure.encode()).hexdigest()[:16]

    def _end(self, outcome: Outcome) -> None:
        self.pk = None  # a run that was rolled back has one that may be another's by now
        self.outcome = outcome
        self.duration = _since(self.started_at)
        database = router.db_for_write(ReceiverRun)
        columns = {name: getattr(self, name) for name in column_names(ReceiverRun, without="id")}
        self.pk = insert(ReceiverRun, columns, using=database)
        self._state.adding, self._state.db = False, database


def asker(name: object) -> str:
    """Return the name of who asks for something as the columns take it.

    It need not be text: a site may know its users by a number.
    """
    return one_line(str(name), MAX_ASKER_LENGTH)


def runs_of(delivery: Delivery) -> list[ReceiverRun]:
    """Return the runs of a delivery, the oldest first, with their tracebacks left where they are.

    They are read from the database that is written to, which knows the last one already.
    """
    database = router.db_for_write(ReceiverRun)
    columns = column_names(ReceiverRun, without="traceback")
    return [
        ReceiverRun.from_db(database, columns, values)
        for values in _history().rows(database, delivery=delivery.pk)
    ]


def runs_of_each(primary_keys: Sequence[int]) -> dict[int, list[ReceiverRun]]:
    """Return the runs of several deliveries by their primary keys, as `runs_of` does."""
    database = router.db_for_write(ReceiverRun)
    found = ReceiverRun.objects.using(database).filter(delivery__in=primary_keys)
    runs: dict[int, list[ReceiverRun]] = {primary_key: [] for primary_key in primary_keys}
    for run in found.defer("traceback").order_by("pk"):
        runs[run.delivery_id].append(run)
    return runs


@cache
def _history() -> Statement:
    runs = ReceiverRun.objects.filter(delivery=Given.of(ReceiverRun, "delivery"))
    columns = column_names(ReceiverRun, without="traceback")
    return Statement(runs.order_by("pk").values_list(*columns).query)


def _since(moment: datetime) -> timedelta:
    return max(timezone.now() - moment, timedelta(0))


def _message_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as nested:  # noqa: BLE001  # somebody else's __str__, and the run must be kept
        return f"<its message raised {type(nested).__qualname__}>"

"""A delivery: the exact bytes that Perfsee sent, and how far the site is with them.

Each transition is a verb that names the state it starts from in its `WHERE`, so that of two
processes that try it at once exactly one succeeds.
"""

from __future__ import annotations

from dataclasses import fields
from datetime import datetime
from typing import Any, Final, Self

from django.db import models, router
from django.utils import timezone

from .. import events
from ..conf import webhook_settings
from ..envelope import (
    MAX_DELIVERY_ID_LENGTH,
    MAX_NAME_LENGTH,
    MAX_REF_LENGTH,
    UNSIGNED,
    Envelope,
    readable_event,
)
from ..exceptions import LeaseLost
from ..payloads import Event
from ..summaries import MAX_LENGTH as MAX_SUMMARY_LENGTH
from .arrivals import Arrival
from .leasing import change_leased
from .queries import DeliveryQuerySet, DeliveryState

# On PostgreSQL only these let an index find the beginning of a text, in any language of the
# database; other databases pass them by.
_BY_BEGINNING: Final = "varchar_pattern_ops"
_BY_MOMENT: Final = "timestamptz_ops"


_READ: Final = tuple(field.name for field in fields(Envelope))


class Delivery(models.Model):
    """One webhook delivery of Perfsee, stored once however often it arrives."""

    State = DeliveryState

    delivery_id = models.CharField(
        max_length=MAX_DELIVERY_ID_LENGTH,
        help_text="The id that Perfsee gave it, the same for each hook and each repeat.",
    )
    event_type = models.CharField(
        max_length=MAX_NAME_LENGTH, help_text="The event's name, from the signed body."
    )
    project = models.CharField(
        max_length=MAX_NAME_LENGTH, blank=True, help_text="The project's slug, from the body."
    )
    branch = models.CharField(
        max_length=MAX_REF_LENGTH, blank=True, help_text="The branch that was built."
    )
    commit_hash = models.CharField(
        max_length=MAX_REF_LENGTH, blank=True, help_text="The commit that was built or measured."
    )
    summary = models.CharField(
        max_length=MAX_SUMMARY_LENGTH, blank=True, help_text="What it is about, in one line."
    )
    subject = models.CharField(
        max_length=MAX_SUMMARY_LENGTH,
        blank=True,
        help_text="What its next and its previous delivery are about as well.",
    )
    hook_id = models.CharField(
        max_length=MAX_NAME_LENGTH,
        blank=True,
        help_text="The hook that the first arrival said it came from. Not signed.",
    )
    headers = models.JSONField(
        default=dict, blank=True, help_text="The headers worth keeping. None of them is signed."
    )
    body = models.BinaryField(help_text="The exact bytes that were received.")
    body_sha256 = models.CharField(
        max_length=64, help_text="The SHA-256 of the body, which stays when the body is pruned."
    )
    body_pruned_at = models.DateTimeField(
        null=True, blank=True, help_text="When the bytes were removed; empty while they are here."
    )
    verified_by = models.CharField(
        max_length=MAX_REF_LENGTH,
        help_text="The place in the settings of the secret that signed the body.",
    )
    state = models.CharField(
        max_length=10,
        choices=State,
        default=State.RECEIVED,
        db_default=State.RECEIVED,
        help_text="How far the site is.",
    )
    attempts = models.PositiveIntegerField(
        default=0,
        db_default=0,
        help_text="How often it was run since it was received or last replayed.",
    )
    next_attempt_at = models.DateTimeField(
        null=True, blank=True, help_text="From when on it may be run; empty if nothing is to do."
    )
    handed_over_at = models.DateTimeField(
        null=True,
        blank=True,
        help_text="When somebody was last told to run it, or will be; empty if nobody was.",
    )
    lease_token = models.UUIDField(
        null=True, blank=True, help_text="What the process that runs it knows it by."
    )
    lease_expires_at = models.DateTimeField(
        null=True, blank=True, help_text="When that process is taken for lost."
    )
    replay = models.ForeignKey(
        "perfsee_webhooks.Replay",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        db_index=False,
        related_name="deliveries",
        help_text="The replay that it was last asked for by.",
    )
    received_at = models.DateTimeField(help_text="When it first arrived.")
    settled_at = models.DateTimeField(
        null=True, blank=True, help_text="When nothing was left to do."
    )
    repeats = models.PositiveIntegerField(
        default=0, db_default=0, help_text="How often the same delivery came again."
    )
    last_repeated_at = models.DateTimeField(
        null=True, blank=True, help_text="When it last came again."
    )
    repeat_log = models.TextField(
        blank=True,
        default="",
        db_default="",
        help_text="A line for each of the first repeats: when, and from which hook.",
    )

    objects = DeliveryQuerySet.as_manager()

    lost_attempt: int | None = None
    same_body_as: str | None = None

    class Meta:
        verbose_name_plural = "deliveries"
        ordering = ("-received_at", "-id")
        permissions = (
            ("replay_delivery", "Can replay delivery"),
            ("view_delivery_body", "Can view the body of deliveries"),
        )
        constraints = (
            models.UniqueConstraint(
                fields=("delivery_id",),
                name="perfsee_delivery_id_unique",
                opclasses=(_BY_BEGINNING,),
            ),
            models.CheckConstraint(
                name="perfsee_delivery_state_known",
                condition=models.Q(
                    state__in=("received", "processing", "succeeded", "failed", "dead", "unhandled")
                ),
            ),
            models.CheckConstraint(
                name="perfsee_delivery_leased_if_run",
                condition=models.Q(state="processing", lease_token__isnull=False)
                | (~models.Q(state="processing") & models.Q(lease_token__isnull=True)),
            ),
        )
        indexes = (
            models.Index(
                # With what the overview counts by, so that it need not look at the rows.
                fields=("received_at", "id", "state", "project", "hook_id"),
                name="perfsee_delivery_newest",
            ),
            models.Index(
                fields=("event_type", "received_at"),
                name="perfsee_delivery_event",
                opclasses=(_BY_BEGINNING, _BY_MOMENT),
            ),
            models.Index(
                fields=("received_at",),
                name="perfsee_delivery_other_event",
                condition=~models.Q(event_type__in=events.KNOWN),
            ),
            models.Index(
                # With the event, so that those of one are told without the rows.
                fields=("project", "received_at", "event_type"),
                name="perfsee_delivery_project",
                opclasses=(_BY_BEGINNING, _BY_MOMENT, _BY_BEGINNING),
            ),
            models.Index(
                fields=("hook_id", "received_at"),
                name="perfsee_delivery_hook",
                opclasses=(_BY_BEGINNING, _BY_MOMENT),
            ),
            models.Index(
                fields=("project", "subject", "received_at"), name="perfsee_delivery_subject"
            ),
            models.Index(
                fields=("commit_hash", "body_sha256"),
                name="perfsee_delivery_commit",
                opclasses=(_BY_BEGINNING, _BY_BEGINNING),
            ),
            models.Index(
                fields=("branch",), name="perfsee_delivery_branch", opclasses=(_BY_BEGINNING,)
            ),
            models.Index(
                fields=("state", "received_at"),
                name="perfsee_delivery_unsettled",
                condition=~models.Q(state="succeeded"),
            ),
            models.Index(
                # A replay goes through them by their primary keys, a batch at a time.
                fields=("state", "id"),
                name="perfsee_delivery_given_up",
                condition=models.Q(state__in=("dead", "unhandled")),
            ),
            models.Index(
                fields=("replay", "state"),
                name="perfsee_delivery_replayed",
                condition=models.Q(replay__isnull=False),
            ),
        )

    def __str__(self) -> str:
        return f"{self.event_type} {self.delivery_id}"

    @classmethod
    def of(cls, envelope: Envelope) -> Self:
        """Return the delivery of a verified request, which is not stored yet."""
        return cls(**cls.columns_of(envelope))

    @staticmethod
    def columns_of(envelope: Envelope) -> dict[str, Any]:
        """Return the columns of a verified request, in which a row differs from the next."""
        columns = {name: getattr(envelope, name) for name in _READ}
        now = envelope.received_at
        return columns | {"next_attempt_at": now, "handed_over_at": now}

    @property
    def event(self) -> Event:
        """The event in the body, parsed afresh at each access; an unknown one if unreadable."""
        return readable_event(bytes(self.body))

    @property
    def arrivals(self) -> list[Arrival]:
        """When it came and from which hook, the first time and each repeat that is still known."""
        first = Arrival(self.received_at, self.hook_id, self.verified_by)
        return [first, *(Arrival.read(line) for line in self.repeat_log.splitlines())]

    @property
    def is_signed(self) -> bool:
        """Whether a secret vouches for the body."""
        return self.verified_by != UNSIGNED

    def renew_lease(self) -> None:
        """Keep the delivery for another `LEASE`.

        Called inside the transaction of a receiver it is its fence: when another process has
        taken the delivery over, what the receiver wrote is rolled back.

        Raises:
            LeaseLost: another process has taken it over.
        """
        self._as_leased(lease_expires_at=timezone.now() + webhook_settings.lease)

    def succeed(self) -> None:
        """Settle: every receiver has succeeded. Raises LeaseLost."""
        self._settle(self.State.SUCCEEDED)

    def go_unhandled(self) -> None:
        """Settle: there is no receiver for it. Raises LeaseLost."""
        self._settle(self.State.UNHANDLED)

    def die(self) -> None:
        """Settle: a receiver still failed at the last attempt. Raises LeaseLost."""
        self._settle(self.State.DEAD)

    def fail(self, next_attempt_at: datetime) -> None:
        """Wait for another attempt of the receivers that failed. Raises LeaseLost."""
        self._release(state=self.State.FAILED, next_attempt_at=next_attempt_at, handed_over_at=None)

    def expect_at(self, handed_over_at: datetime) -> None:
        """Note when the engine will be told to run a failed one, so that the sweep leaves it.

        It changes nothing once a process has claimed it, or somebody has asked for a replay.
        """
        as_it_was = Delivery.objects.on_primary().filter(
            pk=self.pk,
            state=self.State.FAILED,
            attempts=self.attempts,
            next_attempt_at=self.next_attempt_at,
        )
        as_it_was.update(handed_over_at=handed_over_at)

    def _settle(self, state: DeliveryState) -> None:
        self._release(state=state, settled_at=timezone.now())

    def _release(self, **changes: Any) -> None:
        self._as_leased(lease_token=None, lease_expires_at=None, **changes)

    def _as_leased(self, **changes: Any) -> None:
        database = router.db_for_write(Delivery)
        if not change_leased(Delivery, self.pk, self.lease_token, changes, using=database):
            raise LeaseLost(f"Another process has taken over delivery {self.delivery_id}.")
        for name, value in changes.items():
            setattr(self, name, value)

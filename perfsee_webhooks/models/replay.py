"""A replay: who asked for which receivers to run again, and why."""

from __future__ import annotations

from django.db import models

from .run import MAX_ASKER_LENGTH


class Replay(models.Model):
    """One request to run deliveries again; each of them and each run of it points here."""

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
    requested_by = models.CharField(max_length=MAX_ASKER_LENGTH, help_text="Who asked for it.")
    requested_at = models.DateTimeField(auto_now_add=True, help_text="When it was asked for.")
    reason = models.CharField(max_length=200, blank=True, help_text="Why it was asked for.")
    accepted = models.PositiveIntegerField(
        default=0, help_text="How many deliveries were opened again."
    )
    skipped = models.PositiveIntegerField(
        default=0, help_text="How many were left alone, since they were just being run."
    )

    class Meta:
        ordering = ("-requested_at", "-id")
        constraints = (
            models.CheckConstraint(
                name="perfsee_replay_receivers_known",
                condition=models.Q(receivers__in=("failed", "all")),
            ),
        )

    def __str__(self) -> str:
        return f"replay {self.pk} by {self.requested_by}"

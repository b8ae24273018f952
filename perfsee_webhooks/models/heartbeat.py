"""Signs of life of what runs apart from the site, so that a page can tell that it has stopped."""

from __future__ import annotations

from typing import Final

from django.db import models
from django.utils import timezone

SWEEP: Final = "sweep"


class HeartbeatManager(models.Manager["Heartbeat"]):
    """Beats, and the last of them."""

    def beat(self, name: str) -> None:
        """Note that it is alive now. One statement, but for the first time."""
        now = timezone.now()
        if not self.filter(name=name).update(beat_at=now):
            self.bulk_create([Heartbeat(name=name, beat_at=now)], ignore_conflicts=True)


class Heartbeat(models.Model):
    """When something was last known to be alive."""

    name = models.CharField(max_length=50, help_text="What is alive.")
    beat_at = models.DateTimeField(help_text="When it last was.")

    objects = HeartbeatManager()

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("name",), name="perfsee_heartbeat_name_unique"),
        )

    def __str__(self) -> str:
        return f"{self.name} at {self.beat_at:%Y-%m-%d %H:%M:%S}"

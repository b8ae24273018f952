"""The table that each peer stores into."""

from __future__ import annotations

from django.db import models


class Row(models.Model):
    """A delivery, as a site that needs no more would keep it."""

    delivery_id = models.CharField(max_length=128, unique=True)
    event_type = models.CharField(max_length=100)
    project = models.CharField(max_length=100)
    body = models.BinaryField()
    received_at = models.DateTimeField()

    class Meta:
        app_label = "peers"

    def __str__(self) -> str:
        return self.delivery_id

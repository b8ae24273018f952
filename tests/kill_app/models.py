from __future__ import annotations

from django.db import models


class Effect(models.Model):
    """What a receiver did: there has to be one for each receiver and delivery, and not two.

    No constraint holds that, since it is what the test is about.
    """

    receiver = models.CharField(max_length=50)
    delivery_id = models.CharField(max_length=128)

    objects: models.Manager[Effect] = models.Manager()

    def __str__(self):
        return f"{self.receiver} {self.delivery_id}"

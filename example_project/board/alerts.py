"""Mails the admins about deliveries that are dead, at most once an hour for failures alike."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core.mail import mail_admins
from django.dispatch import receiver
from django.utils import timezone

from perfsee_webhooks.models import Delivery, ReceiverRun
from perfsee_webhooks.signals import delivery_failed

from .models import SentAlert

PAUSE = timedelta(hours=1)


@receiver(delivery_failed)
def mail_about_dead_delivery(
    sender: type[Delivery], delivery: Delivery, runs: list[ReceiverRun], **kwargs: Any
) -> None:
    """Mail one message for each group of failures that nobody was told of within the hour."""
    for run in runs:
        if _is_news(run.failure_group):
            mail_admins(
                subject=f"Perfsee delivery {delivery.delivery_id} is dead",
                message=f"{delivery.summary}\n{run.failure}\n\n{run.exception}",
            )


def _is_news(group: str) -> bool:
    """Note that the admins are told now; False if they were told within the hour."""
    now = timezone.now()
    if SentAlert.objects.filter(group=group, sent_at__lt=now - PAUSE).update(sent_at=now):
        return True
    _, created = SentAlert.objects.get_or_create(group=group, defaults={"sent_at": now})
    return created

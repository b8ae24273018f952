"""Replay stored deliveries: the one door for whoever asks for it."""

from __future__ import annotations

from dataclasses import dataclass

from django.db import router, transaction

from .models import Delivery, DeliveryQuerySet, Replay
from .models.run import MAX_ASKER_LENGTH
from .text import one_line


@dataclass(frozen=True, slots=True, kw_only=True)
class StartedReplay:
    """A replay, and the primary keys of the deliveries that it opened again, oldest first."""

    replay: Replay
    primary_keys: list[int]


def start(
    deliveries: DeliveryQuerySet,
    *,
    requested_by: str,
    receivers: Replay.Receivers = Replay.Receivers.FAILED,
    reason: str = "",
) -> StartedReplay:
    """Open deliveries again for the receivers that are asked for, and record who asked.

    A delivery that a process is running just now is skipped and counted. The caller has each of
    the returned primary keys scheduled.
    """
    database = router.db_for_write(Delivery)
    primary_keys = list(deliveries.using(database).values_list("pk", flat=True))
    with transaction.atomic(using=database):
        replay = Replay(
            receivers=receivers,
            requested_by=one_line(requested_by, MAX_ASKER_LENGTH),
            reason=one_line(reason, 200),
        )
        replay.save(using=database)
        opened = Delivery.objects.using(database).filter(pk__in=primary_keys)
        replay.accepted = opened.reopen(replay)
        replay.skipped = len(primary_keys) - replay.accepted
        replay.save(using=database, update_fields=("accepted", "skipped"))
    accepted = Delivery.objects.using(database).filter(replay=replay)
    return StartedReplay(
        replay=replay,
        primary_keys=list(accepted.order_by("received_at", "pk").values_list("pk", flat=True)),
    )

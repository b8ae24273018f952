"""Remove what the settings say is old enough: first the bytes of a delivery, long after the row.

As long as its row is here, a delivery id is known, and a repeat of it runs nothing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from django.db import router, transaction
from django.db.models import Q
from django.utils import timezone

from .conf import webhook_settings
from .log import ids
from .models import Delivery, DeliveryQuerySet, ReceiverRun, Rejection

logger = logging.getLogger(__name__)

BATCH_SIZE: Final = 100
# After each batch the disk is left to what the site receives, for so many times as long.
_PAUSE: Final = 4
# Deliveries that came one after the other share a page of the table, and are pruned in batches of
# their own: PostgreSQL then writes a row into the room that the one before it has left there, and
# most rows need neither another page nor a new entry in each index.
_NEIGHBOURS: Final = 4


def old_bodies(now: datetime) -> DeliveryQuerySet:
    """Return the deliveries older than `KEEP_BODIES`, but not than `KEEP_ROWS`, with bytes."""
    old = _older_than(webhook_settings.keep_bodies, now).filter(body_pruned_at=None)
    keep_rows = webhook_settings.keep_rows
    return old if keep_rows is None else old.filter(received_at__gte=now - keep_rows)


def old_rows(now: datetime) -> DeliveryQuerySet:
    """Return the deliveries that are older than `KEEP_ROWS`."""
    return _older_than(webhook_settings.keep_rows, now)


def prune_bodies(*, batch_size: int = BATCH_SIZE, show: Callable[[int], None]) -> int:
    """Remove the bytes of deliveries older than `KEEP_BODIES`, and return of how many.

    `show` is called after each batch with how many it has been so far. Each batch is a
    transaction of its own, so that to stop in between does no harm, and is followed by a pause.
    """
    now = timezone.now()
    count = _in_batches(old_bodies(now), batch_size, show, lambda old: _empty(old, now))
    logger.info("Deliveries whose bytes were pruned: %s.", count, extra=ids(pruned=count))
    return count


def prune_rows(*, batch_size: int = BATCH_SIZE, show: Callable[[int], None]) -> int:
    """Remove deliveries older than `KEEP_ROWS` with their runs, as `prune_bodies` does."""
    count = _in_batches(old_rows(timezone.now()), batch_size, show, _delete)
    logger.info("Deliveries that were pruned: %s.", count, extra=ids(pruned=count))
    return count


def _older_than(age: timedelta | None, now: datetime) -> DeliveryQuerySet:
    """Return settled deliveries of that age; none where everything is kept for ever."""
    deliveries = Delivery.objects.on_primary().settled()
    return deliveries.none() if age is None else deliveries.filter(received_at__lt=now - age)


def _in_batches(
    old: DeliveryQuerySet,
    size: int,
    show: Callable[[int], None],
    prune: Callable[[DeliveryQuerySet], None],
) -> int:
    count, left = 0, old
    while True:
        found = left.order_by("received_at", "pk").values_list("pk", "received_at")
        rows = list(found[: size * _NEIGHBOURS])
        keys = [key for key, _ in rows]
        for first in range(min(_NEIGHBOURS, len(keys))):
            began = time.monotonic()
            count += _prune_batch(old.filter(pk__in=keys[first::_NEIGHBOURS]), prune)
            show(count)
            time.sleep((time.monotonic() - began) * _PAUSE)
        if len(rows) < size * _NEIGHBOURS:
            return count
        # Those before it have had their turn: another process may have them locked.
        last, moment = rows[-1]
        left = old.filter(Q(received_at__gt=moment) | Q(pk__gt=last), received_at__gte=moment)


def _prune_batch(batch: DeliveryQuerySet, prune: Callable[[DeliveryQuerySet], None]) -> int:
    database = router.db_for_write(Delivery)
    with transaction.atomic(using=database):
        keys = list(batch.locked_where_free().order_by("pk").values_list("pk", flat=True))
        prune(Delivery.objects.using(database).filter(pk__in=keys))
    return len(keys)


def _empty(deliveries: DeliveryQuerySet, now: datetime) -> None:
    deliveries.update(body=b"", body_pruned_at=now)


def _delete(deliveries: DeliveryQuerySet) -> None:
    """Delete rows that Django need not load first, with the runs that belong to them."""
    database = deliveries.db
    keys = list(deliveries.order_by().values_list("pk", flat=True))
    Rejection.objects.using(database).filter(accepted_as__in=keys).update(accepted_as=None)
    ReceiverRun.objects.using(database).filter(delivery__in=keys)._raw_delete(database)
    deliveries.order_by()._raw_delete(database)

"""What is asked of a replay besides its deliveries, and the row that records it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

from django.db import router
from django.db.models import Max

from ..log import ids
from ..models import Delivery, DeliveryQuerySet, Replay
from ..models.replay import MAX_REASON_LENGTH
from ..models.run import MAX_ASKER_LENGTH
from ..selection import Selection
from ..signals import connected_receivers
from ..text import one_line

logger = logging.getLogger(__name__)

BATCH_SIZE: Final = 100


class UnknownReceiver(ValueError):
    """A receiver that was named, and that no receiver connected here is called."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """To which receivers, and how fast.

    receivers:  those that have not succeeded, or all
    only:       names of receivers as their runs have them; empty for any. Deliveries that still
                wait or are being run are then left alone.
    limit:      the largest number of deliveries, the oldest first; None for all
    batch_size: how many deliveries are opened at once
    per_minute: how many deliveries are opened in a minute at most; None for no such limit
    """

    receivers: Replay.Receivers = Replay.Receivers.FAILED
    only: tuple[str, ...] = ()
    limit: int | None = None
    batch_size: int = BATCH_SIZE
    per_minute: int | None = None

    def __post_init__(self) -> None:
        """Refuse what could not be carried out.

        Raises:
            UnknownReceiver: `only` names one that is not connected.
            ValueError: a number is less than 1.
        """
        for name in ("limit", "batch_size", "per_minute"):
            number = getattr(self, name)
            if number is not None and number < 1:
                raise ValueError(f"{name} has to be 1 or more.")
        known = [receiver.label for receiver in connected_receivers(sender=Delivery)]
        for label in self.only:
            if label not in known:
                near = get_close_matches(label, known, n=1)
                hint = f" Did you mean {near[0]}?" if near else ""
                raise UnknownReceiver(f"No receiver called {label} is connected.{hint}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """How far a selection reaches: the deliveries up to a primary key, and their number."""

    deliveries: DeliveryQuerySet
    ceiling: int
    selected: int
    matching: int


def extent_of(selection: Selection, limit: int | None) -> Extent:
    """Return what a selection comes to, cut after the oldest `limit` deliveries."""
    deliveries = selection.deliveries()
    matching = deliveries.count()
    ceiling = _ceiling(deliveries, limit, matching)
    return Extent(
        deliveries=deliveries.filter(pk__lte=ceiling),
        ceiling=ceiling,
        selected=min(matching, limit or matching),
        matching=matching,
    )


def _ceiling(deliveries: DeliveryQuerySet, limit: int | None, matching: int) -> int:
    if limit is not None and limit < matching:
        last = deliveries.values_list("pk", flat=True)[limit - 1 : limit].first()
        if last is not None:
            return last
    return deliveries.aggregate(last=Max("pk"))["last"] or 0


def start(
    selection: Selection, order: Order | None = None, *, requested_by: str, reason: str = ""
) -> Replay:
    """Record a replay, of which nothing is opened yet: `carry_out` or `schedule` does that."""
    order = order or Order()
    extent = extent_of(selection, order.limit)
    replay = Replay(
        receivers=order.receivers,
        only=list(order.only),
        selection=selection.as_json(),
        requested_by=one_line(requested_by, MAX_ASKER_LENGTH),
        reason=one_line(reason, MAX_REASON_LENGTH),
        selected=extent.selected,
        batch_size=order.batch_size,
        per_minute=order.per_minute,
        ceiling=extent.ceiling,
    )
    replay.save(using=router.db_for_write(Delivery))
    logger.info(
        "Replay %s was asked for by %s: %s selected.",
        replay.pk,
        replay.requested_by,
        replay.selected,
        extra=ids(replay=replay.pk, requested_by=replay.requested_by),
    )
    return replay

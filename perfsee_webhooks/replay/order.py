"""What is asked of a replay besides its deliveries, and the row that records it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

from django.db import router

from ..log import ids
from ..models import Delivery, Replay
from ..models.replay import MAX_COUNTED, MAX_REASON_LENGTH
from ..models.run import asker
from ..selection import MAX_PRIMARY_KEYS, Selection
from ..signals import connected_receivers
from ..text import one_line

logger = logging.getLogger(__name__)

BATCH_SIZE: Final = 100
# A statement names each delivery of a batch, and a database takes no more than 65,535 values.
MAX_BATCH_SIZE: Final = 10_000
# How many of a plan's deliveries are looked at, with their runs, while somebody waits for it.
MAX_LOOKED_AT: Final = MAX_PRIMARY_KEYS


class UnknownReceiver(ValueError):
    """A receiver that was named, and that no receiver connected here is called."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """To which receivers, and how fast.

    receivers:  those that have not succeeded, or all
    only:       names of receivers as their runs have them; empty for any. Deliveries that still
                wait or are being run are then left alone.
    limit:      the largest number of deliveries, the oldest first; None for all
    batch_size: how many deliveries are opened at once, at most `MAX_BATCH_SIZE`
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
            ValueError: a number is less than 1, or the batches are too large.
        """
        for name in ("limit", "batch_size", "per_minute"):
            number = getattr(self, name)
            if number is not None and number < 1:
                raise ValueError(f"{name} has to be 1 or more.")
        if self.batch_size > MAX_BATCH_SIZE:
            raise ValueError(f"batch_size has to be {MAX_BATCH_SIZE:,} or less.")
        known = [receiver.label for receiver in connected_receivers(sender=Delivery)]
        for label in self.only:
            if label not in known:
                near = get_close_matches(label, known, n=1)
                hint = f" Did you mean {near[0]}?" if near else ""
                raise UnknownReceiver(f"No receiver called {label} is connected.{hint}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """How far a selection reaches. A number of `MAX_COUNTED` + 1 stands for any larger one.

    matching:  how many deliveries the selection finds
    selected:  how many of these are within the limit
    ceiling:   the primary key of the last of those
    first:     the primary keys of the first `MAX_LOOKED_AT` of those
    """

    matching: int
    selected: int
    ceiling: int
    first: tuple[int, ...]


def extent_of(selection: Selection, limit: int | None) -> Extent:
    """Return what a selection comes to, cut after the oldest `limit` deliveries."""
    keys = list(selection.deliveries().values_list("pk", flat=True)[: MAX_COUNTED + 1])
    chosen = keys[:limit]
    if len(chosen) > MAX_COUNTED:
        ceiling = _ceiling(selection, limit)
    else:
        ceiling = chosen[-1] if chosen else 0
    return Extent(
        matching=len(keys),
        selected=len(chosen),
        ceiling=ceiling,
        first=tuple(chosen[:MAX_LOOKED_AT]),
    )


def _ceiling(selection: Selection, limit: int | None) -> int:
    """Return up to where more deliveries reach than are counted."""
    keys = selection.deliveries().values_list("pk", flat=True)
    within = None if limit is None else keys[limit - 1 : limit].first()
    return within or keys.order_by("-pk").first() or 0


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
        requested_by=asker(requested_by),
        reason=one_line(reason, MAX_REASON_LENGTH),
        selected=extent.selected if extent.selected <= MAX_COUNTED else None,
        batch_size=order.batch_size,
        per_minute=order.per_minute,
        ceiling=extent.ceiling,
    )
    replay.save(using=router.db_for_write(Delivery))
    logger.info(
        "Replay %s was asked for by %s: %s selected.",
        replay.pk,
        replay.requested_by,
        replay.of_how_many,
        extra=ids(replay=replay.pk, requested_by=replay.requested_by),
    )
    return replay

"""Call a receiver as a delivery does, and collect what receivers are given."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from ..models import Delivery
from ..payloads import Event
from ..processing import call_receiver as call_connected
from ..signals import (
    ConnectedReceiver,
    EventSignal,
    bundle_finished,
    delivery_received,
    lab_snapshot_completed,
    lab_snapshot_report_completed,
    path_of,
    signal_of,
    source_finished,
)
from .samples import sample_delivery

_SIGNALS: Final[tuple[EventSignal[Any], ...]] = (
    bundle_finished,
    lab_snapshot_completed,
    lab_snapshot_report_completed,
    source_finished,
)


def call_receiver(
    receiver: Callable[..., Any], event: str | bytes | Delivery, /, **overrides: Any
) -> Delivery:
    """Call one receiver with a delivery that is not stored, and return that delivery.

    `event` and `overrides` are what `sample_delivery` takes, or it is a delivery. An `async`
    receiver is run to its end. What it raises is raised here. No database is needed unless the
    receiver itself needs one.

    Raises:
        ValueError: there is no such event.
        TypeError: its sample has no such field.
    """
    delivery = event if isinstance(event, Delivery) else sample_delivery(event, **overrides)
    signal = next(
        (one for one in _SIGNALS if one.pattern == delivery.event_type), delivery_received
    )
    label = path_of(receiver)
    call_connected(ConnectedReceiver(label=label, function=receiver, signal=signal), delivery)
    return delivery


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """What a receiver was given: the stored delivery, and its event."""

    delivery: Delivery
    event: Event


@contextmanager
def collected(pattern: str = "*") -> Iterator[list[Collected]]:
    """Collect what receivers of a pattern of events are given while the context lasts.

    It is a receiver itself, beside those of the site, and leaves a run on each delivery. The
    pattern is written as for `receive`.

    Raises:
        ValueError: the pattern names no event at all.
    """
    found: list[Collected] = []

    def collect(sender: object, delivery: Delivery, event: Event, **kwargs: Any) -> None:
        found.append(Collected(delivery=delivery, event=event))

    signal = signal_of(pattern)
    signal.connect(collect)
    try:
        yield found
    finally:
        signal.disconnect(collect)

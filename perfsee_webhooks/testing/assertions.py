"""What has to be true of the site after a delivery, said with what is there instead."""

from __future__ import annotations

from typing import Any, Final

from .. import events
from ..models import Delivery, ReceiverRun, Rejection

_MAX_SHOWN: Final = 10


def assert_received(event_type: str | None = None, /, **columns: Any) -> Delivery:
    """Return the one delivery of an event type that has these columns.

    `columns` are lookups of `Delivery`: `assert_received("bundle:finished", state="succeeded")`.

    Raises:
        AssertionError: there is none, or more than one. It says which deliveries there are, how
            their receivers failed, and what was refused.
    """
    if event_type is not None:
        columns["event_type"] = events.canonical(event_type)
    found = list(Delivery.objects.filter(**columns)[:2])
    if len(found) != 1:
        wanted = ", ".join(f"{name}={value!r}" for name, value in columns.items()) or "any columns"
        number = "No delivery has" if not found else "More than one delivery has"
        raise AssertionError(f"{number} {wanted}.\n{_all_that_came()}")
    return found[0]


def assert_nothing_received() -> None:
    """Do nothing if no delivery is stored.

    Raises:
        AssertionError: there is one.
    """
    if Delivery.objects.exists():
        raise AssertionError(f"Something was received.\n{_all_that_came()}")


def _all_that_came() -> str:
    """Return a line for each of the latest deliveries and refused requests."""
    lines = ["What came:"]
    for delivery in Delivery.objects.without_body()[:_MAX_SHOWN]:
        lines.append(f"  {delivery} is {delivery.state}: {delivery.summary or 'no summary'}")
        failures = ReceiverRun.objects.filter(delivery=delivery).failures()
        lines += [f"    {run.receiver}: {run.exception}" for run in failures[:_MAX_SHOWN]]
    refused = Rejection.objects.order_by("-pk")[:_MAX_SHOWN]
    lines += [f"  refused as {rejection.reason}: {rejection.detail}" for rejection in refused]
    return "\n".join(lines) if len(lines) > 1 else "Nothing has come at all."

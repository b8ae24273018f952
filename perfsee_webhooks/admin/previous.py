"""What a delivery says that the one before it about the same subject did not say."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, Self

from django.db.models import Q
from django.template.defaultfilters import filesizeformat

from ..comparison import ABSENT, Change, Difference, differences
from ..envelope import parse_body
from ..models import Delivery
from ..payloads import Raw
from ..text import escaped, one_line

MAX_SHOWN_DIFFERENCES: Final = 200
MAX_COMPARED_BYTES: Final = 1024 * 1024
_MAX_VALUE_LENGTH: Final = 300

_ENCODER: Final = json.JSONEncoder(ensure_ascii=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A difference on a page."""

    change: Change
    path: str
    before: str
    after: str
    by: str

    @classmethod
    def of(cls, difference: Difference) -> Self:
        """Return a difference as text of a bounded length."""
        return cls(
            change=difference.change,
            path=one_line(str(difference.place), _MAX_VALUE_LENGTH),
            before=_shown(difference.before),
            after=_shown(difference.after),
            by=one_line(difference.by, _MAX_VALUE_LENGTH),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The previous delivery, what differs from it, and what is to be said of that."""

    previous: Delivery | None = None
    rows: tuple[Row, ...] = ()
    further: int = 0
    note: str = ""

    @classmethod
    def of(cls, delivery: Delivery) -> Self:
        """Compare a delivery with the previous one: one statement, which loads that one's body."""
        if not delivery.subject:
            return cls(note="What this event is about is not known, so none can be its previous.")
        previous = _previous(delivery)
        if previous is None:
            return cls(note="This is the first one about its subject.")
        try:
            found = differences(_value(previous, "the previous one"), _value(delivery, "this one"))
        except ValueError as error:
            return cls(previous=previous, note=str(error))
        rows = tuple(Row.of(difference) for difference in islice(found, MAX_SHOWN_DIFFERENCES))
        further = sum(1 for _ in found)
        return cls(
            previous=previous,
            rows=rows,
            further=further,
            note="" if rows else "Both say the same.",
        )


def _previous(delivery: Delivery) -> Delivery | None:
    same = Delivery.objects.filter(
        event_type=delivery.event_type, project=delivery.project, subject=delivery.subject
    )
    at_once = Q(received_at=delivery.received_at, pk__lt=delivery.pk)
    before = same.filter(
        Q(received_at__lt=delivery.received_at) | at_once,
        # Says nothing new, but is what the index can be entered with.
        received_at__lte=delivery.received_at,
    )
    return before.defer("headers", "repeat_log").order_by("-received_at", "-pk").first()


def _value(delivery: Delivery, name: str) -> Raw:
    """Return what a body says. Raises ValueError with the reason for a reader if it cannot."""
    if delivery.body_pruned_at:
        raise ValueError(f"The bytes of {name} have been pruned.")
    if len(delivery.body) > MAX_COMPARED_BYTES:
        raise ValueError(
            f"The body of {name} has more than {filesizeformat(MAX_COMPARED_BYTES)}: it is not "
            "compared."
        )
    try:
        return parse_body(bytes(delivery.body)).raw
    except ValueError as error:
        raise ValueError(f"The body of {name} is not a JSON object.") from error


def _shown(value: Any) -> str:
    """Write the beginning of a value as JSON: no more of it is looked at than is shown."""
    if value is ABSENT:
        return ""
    written = ""
    for piece in _ENCODER.iterencode(value):
        written += escaped(piece[: _MAX_VALUE_LENGTH + 1])
        if len(written) > _MAX_VALUE_LENGTH:
            break
    return one_line(written, _MAX_VALUE_LENGTH)

"""Which deliveries are meant: a filter that can be kept, shown, and applied again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from functools import reduce
from operator import or_
from typing import Any, Final, Self

from django.conf import settings
from django.db.models import Q
from django.utils import timezone

from . import events
from .models import Delivery, DeliveryQuerySet

# A database takes only so many keys in one statement.
MAX_PRIMARY_KEYS: Final = 1000

_MOMENTS: Final = ("received_from", "received_before")


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Deliveries for which all that is given here holds; with nothing given, every one.

    primary_keys:    only these; None for any
    event:           a pattern such as `bundle:*,lab:*`, in the grammar of a hook in Perfsee
    other_events:    only events that this version of the app does not know
    project, hook:   the exact slug, the exact hook id
    states:          values of `Delivery.State`
    received_from:   received at this moment or later
    received_before: received before this moment
    failure_group:   a receiver's last run failed like this, `ReceiverRun.failure_group`
    replay:          last asked for by the replay of this primary key
    search:          the words of the search field of the list of deliveries
    up_to:           no primary key above this one
    """

    primary_keys: tuple[int, ...] | None = None
    event: str = ""
    other_events: bool = False
    project: str = ""
    hook: str = ""
    states: tuple[str, ...] = ()
    received_from: datetime | None = None
    received_before: datetime | None = None
    failure_group: str = ""
    replay: int | None = None
    search: str = ""
    up_to: int | None = None

    def __post_init__(self) -> None:
        """Refuse what could not be looked for, and tell moments as the rows tell theirs.

        Raises:
            ValueError: `event` names no event at all, a moment is beyond what a date can tell, or
                there are too many primary keys.
        """
        for name in _MOMENTS:
            moment = getattr(self, name)
            if moment is not None:
                object.__setattr__(self, name, as_stored(moment))
        if self.event:
            events.compiled(self.event)
        if self.primary_keys is not None and len(self.primary_keys) > MAX_PRIMARY_KEYS:
            raise ValueError(
                f"At most {MAX_PRIMARY_KEYS} deliveries can be named one by one: use a filter."
            )

    def deliveries(self) -> DeliveryQuerySet:
        """Return the deliveries that are selected, read from the primary database."""
        deliveries = Delivery.objects.on_primary().order_by("pk")
        if self.event:
            # Each apart begins with a text that an index can be entered with.
            named = (Q(event_type__regex=f"^{name}$") for name in events.alternatives(self.event))
            deliveries = deliveries.filter(reduce(or_, named))
        if self.other_events:
            deliveries = deliveries.exclude(event_type__in=events.KNOWN)
        if self.failure_group:
            deliveries = deliveries.failing_with(self.failure_group)
        if self.search:
            deliveries = deliveries.search(self.search)
        return deliveries.filter(**self._exact())

    def after(self, cursor: int, ceiling: int, size: int) -> list[int]:
        """Return the next primary keys, in their order, above `cursor` and up to `ceiling`."""
        next_ones = self.deliveries().filter(pk__gt=cursor, pk__lte=ceiling)
        return list(next_ones.values_list("pk", flat=True)[:size])

    def as_json(self) -> dict[str, Any]:
        """Return what is given, as JSON takes it."""
        # No primary key is another thing than any: it selects nothing.
        return {
            name: _as_json(value)
            for name, value in asdict(self).items()
            if value or (name == "primary_keys" and value is not None)
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Return the selection that `as_json` has written.

        Raises:
            ValueError: another version has written it, with a filter that this one does not know.
        """
        unknown = value.keys() - {field.name for field in fields(cls)}
        if unknown:
            raise ValueError(f"A selection by {', '.join(sorted(unknown))} is not known here.")
        given = {field.name: value[field.name] for field in fields(cls) if field.name in value}
        for name in set(_MOMENTS) & given.keys():
            given[name] = datetime.fromisoformat(given[name])
        for name in {"primary_keys", "states"} & given.keys():
            given[name] = tuple(given[name])
        return cls(**given)

    @property
    def described(self) -> list[str]:
        """What is given, a phrase for each; that it is every delivery where nothing is."""
        keys = None if self.primary_keys is None else str(len(self.primary_keys))
        phrases = [
            ("{} chosen one by one", keys),
            ("event {}", self.event),
            ("an event this version does not know", self.other_events),
            ("project {}", self.project),
            ("hook {}", self.hook),
            ("state {}", " or ".join(self.states)),
            ("received from {} on", self.received_from),
            ("received before {}", self.received_before),
            ("still failing like failure group {}", self.failure_group),
            ("last asked for by replay {}", self.replay),
            ("found by “{}”", self.search),
        ]
        given = [phrase.format(value) for phrase, value in phrases if value]
        return given or ["every delivery"]

    def _exact(self) -> dict[str, Any]:
        lookups = {
            "pk__in": self.primary_keys,
            "project": self.project or None,
            "hook_id": self.hook or None,
            "state__in": self.states or None,
            "received_at__gte": self.received_from,
            "received_at__lt": self.received_before,
            "replay": self.replay,
            "pk__lte": self.up_to,
        }
        return {lookup: value for lookup, value in lookups.items() if value is not None}


def as_stored(moment: datetime) -> datetime:
    """Return a moment as the rows tell theirs.

    That is in UTC (PostgreSQL takes no offset of 16 hours and more), or without `USE_TZ` in the
    site's time zone and naive. A naive one is in the site's time zone.

    Raises:
        ValueError: no date can tell it there.
    """
    try:
        if settings.USE_TZ:
            aware = timezone.make_aware(moment) if timezone.is_naive(moment) else moment
            return aware.astimezone(UTC)
        zone = timezone.get_default_timezone()
        return timezone.make_naive(moment, zone) if timezone.is_aware(moment) else moment
    except OverflowError as error:
        raise ValueError(f"{moment} is beyond what a date can tell.") from error


def _as_json(value: Any) -> Any:
    match value:
        case tuple():
            return list(value)
        case datetime():
            return value.isoformat()
        case _:
            return value

"""What lists can be narrowed down to. What no database takes is refused, not looked for."""

from __future__ import annotations

from typing import Any, Final

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema_field

from .. import events
from ..envelope import MAX_DELIVERY_ID_LENGTH, MAX_NAME_LENGTH, MAX_REF_LENGTH
from ..models import Delivery, ReceiverRun, Rejection, Replay
from ..models.run import MAX_ASKER_LENGTH
from ..selection import Selection, as_stored
from ..signals import MAX_LABEL_LENGTH
from .moments import require_within_reach

MAX_KEY: Final = 2**63 - 1
MAX_GROUP_LENGTH: Final = 16

EVENT_HELP: Final = "A pattern of events such as `bundle:*,lab:*`, as a hook in Perfsee has it."
FROM_HELP: Final = "Received at this moment or later."
BEFORE_HELP: Final = "Received before this moment."
FAILING_HELP: Final = "A receiver's last run failed like this: `failure_group` of a run."
SEARCH_HELP: Final = (
    "Words, each the beginning of a delivery id, hook id, project, commit hash or branch."
)
OTHER_EVENTS_HELP: Final = "Only events that this version of the app does not know."
# The empty one is what a form has chosen where nobody has.
_YES_OR_NO: Final = (("", "-"), ("true", "yes"), ("false", "no"))


def require_pattern(pattern: str) -> None:
    """Refuse a pattern that names no event. Raises Django's ValidationError."""
    try:
        events.compiled(pattern)
    except ValueError as error:
        raise ValidationError(str(error)) from error


def _text(max_length: int, help_text: str, **given: Any) -> filters.CharFilter:
    return filters.CharFilter(max_length=max_length, strip=False, help_text=help_text, **given)


class _MomentFilter(filters.IsoDateTimeFilter):
    def filter(self, qs: QuerySet[Any], value: Any) -> QuerySet[Any]:
        """Look for a moment as the rows tell theirs."""
        found: QuerySet[Any] = super().filter(qs, as_stored(value) if value else value)
        return found


def _moment(help_text: str, **given: Any) -> _MomentFilter:
    return _MomentFilter(help_text=help_text, validators=[require_within_reach], **given)


def _yes_or_no(help_text: str, **given: Any) -> Any:
    """Return a filter that refuses what is neither, where one of its own would take it for none."""
    described = {"type": "boolean", "description": help_text}
    return extend_schema_field(described)(
        filters.TypedChoiceFilter(
            choices=_YES_OR_NO, coerce=lambda value: value == "true", help_text=help_text, **given
        )
    )


class _WholeNumberFilter(filters.Filter):
    field_class = forms.IntegerField


def _key(help_text: str, **given: Any) -> Any:
    described = {"type": "integer", "minimum": 1, "maximum": MAX_KEY, "description": help_text}
    return extend_schema_field(described)(
        _WholeNumberFilter(min_value=1, max_value=MAX_KEY, help_text=help_text, **given)
    )


class _Filters(filters.FilterSet):
    """Labels each filter by its name, in the form of REST framework's own pages."""

    @classmethod
    def get_filters(cls) -> dict[str, Any]:
        """Return the filters by name."""
        by_name: dict[str, Any] = super().get_filters()
        for name, one in by_name.items():
            one.label = name.replace("_", " ").capitalize()
        return by_name


class DeliveryFilters(_Filters):
    """Deliveries, by the same selection that a replay or an export is made of."""

    state = filters.MultipleChoiceFilter(
        choices=Delivery.State.choices, help_text="In this state; given twice, in either."
    )
    event = filters.CharFilter(
        max_length=MAX_REF_LENGTH, validators=[require_pattern], help_text=EVENT_HELP
    )
    other_events = _yes_or_no(OTHER_EVENTS_HELP)
    project = _text(MAX_NAME_LENGTH, "Its slug.")
    hook = _text(MAX_NAME_LENGTH, "The id of the hook, which nobody has signed.")
    received_from = _moment(FROM_HELP)
    received_before = _moment(BEFORE_HELP)
    failure_group = _text(MAX_GROUP_LENGTH, FAILING_HELP)
    replay = _key("Last asked for by this replay.")
    search = filters.CharFilter(max_length=MAX_REF_LENGTH, help_text=SEARCH_HELP)

    @property
    def selection(self) -> Selection:
        """The deliveries that are asked for, once the filters have been found valid."""
        given = dict(self.form.cleaned_data)
        states = tuple(given.pop("state"))
        other_events = given.pop("other_events") is True
        return Selection(states=states, other_events=other_events, **given)

    def filter_queryset(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the deliveries that are asked for."""
        return self.selection.deliveries()


class RunFilters(_Filters):
    """Runs of receivers."""

    delivery = _text(
        MAX_DELIVERY_ID_LENGTH, "On the delivery of this id.", field_name="delivery__delivery_id"
    )
    receiver = _text(MAX_LABEL_LENGTH, "Of the receiver of this dotted path.")
    outcome = filters.ChoiceFilter(
        choices=ReceiverRun.Outcome.choices, help_text="How the run ended."
    )
    trigger = filters.ChoiceFilter(
        choices=ReceiverRun.Trigger.choices, help_text="Why the receiver was run."
    )
    failure_group = _text(MAX_GROUP_LENGTH, "Failed like this.")
    replay = _key("Part of this replay.")


class RejectionFilters(_Filters):
    """Refused requests, by what was wrong and by what they claimed."""

    reason = filters.ChoiceFilter(choices=Rejection.Reason.choices, help_text="Why it was refused.")
    accepted = _yes_or_no(
        "Whether it was accepted as a delivery after all.",
        field_name="accepted_at",
        lookup_expr="isnull",
        exclude=True,
    )
    delivery_id = _text(MAX_DELIVERY_ID_LENGTH, "The delivery id that it claimed.")
    project = _text(MAX_NAME_LENGTH, "The project that it claimed.")
    hook = _text(MAX_NAME_LENGTH, "The hook that it claimed.", field_name="hook_id")
    received_from = _moment(FROM_HELP, field_name="received_at", lookup_expr="gte")
    received_before = _moment(BEFORE_HELP, field_name="received_at", lookup_expr="lt")


class ReplayFilters(_Filters):
    """Replays."""

    state = filters.ChoiceFilter(choices=Replay.State.choices, help_text="How far it is.")
    requested_by = _text(MAX_ASKER_LENGTH, "Who asked for it.")


__all__ = ["DeliveryFilters", "RejectionFilters", "ReplayFilters", "RunFilters"]

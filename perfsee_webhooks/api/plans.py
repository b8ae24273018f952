"""What is asked of a replay, and what it would do."""

from __future__ import annotations

from typing import Any, Final

from django.utils import timezone
from drf_spectacular.extensions import OpenApiSerializerExtension
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from ..envelope import MAX_DELIVERY_ID_LENGTH, MAX_NAME_LENGTH, MAX_REF_LENGTH
from ..models import Delivery, Replay
from ..models.replay import MAX_COUNTED, MAX_REASON_LENGTH
from ..replay import BATCH_SIZE, MAX_BATCH_SIZE, MAX_LOOKED_AT, Order, Plan, PlannedReceiver
from ..selection import MAX_PRIMARY_KEYS, Selection
from ..signals import MAX_LABEL_LENGTH
from ..text import one_line
from . import filters
from .moments import require_within_reach
from .openapi import NamedChoice
from .serializers import DeliverySerializer

_MOST: Final = 2_000_000_000
_MOST_RECEIVERS: Final = 100

_SELECTION: Final = (
    "event",
    "other_events",
    "project",
    "hook",
    "received_from",
    "received_before",
    "failure_group",
    "replay",
    "search",
)
_ORDER: Final = ("limit", "batch_size", "per_minute")
# What a form of REST framework's own pages sends along.
_OF_THE_FORM: Final = {"csrfmiddlewaretoken"}


def _text(max_length: int, help_text: str, **given: Any) -> serializers.CharField:
    # Blank text would be read as "any".
    return serializers.CharField(max_length=max_length, default="", help_text=help_text, **given)


class _MomentField(serializers.DateTimeField):
    def default_timezone(self) -> Any:
        """Return that of the site, in which REST framework reads no moment without `USE_TZ`."""
        return timezone.get_current_timezone()


def _moment(help_text: str) -> _MomentField:
    return _MomentField(
        default=None, allow_null=True, validators=[require_within_reach], help_text=help_text
    )


def _number(most: int, help_text: str, **given: Any) -> serializers.IntegerField:
    return serializers.IntegerField(
        min_value=1,
        max_value=most,
        help_text=help_text,
        **{"default": None, "allow_null": True, **given},
    )


class PlanSerializer(serializers.Serializer[Any]):
    """Which deliveries, to which receivers, and how fast. What is left out limits nothing."""

    # None of the lists may be empty: "none of them" would be read as "any".
    deliveries = serializers.ListField(
        child=serializers.CharField(max_length=MAX_DELIVERY_ID_LENGTH),
        required=False,
        allow_empty=False,
        max_length=MAX_PRIMARY_KEYS,
        help_text="Only the deliveries of these ids.",
    )
    state = serializers.ListField(
        child=NamedChoice("DeliveryState", Delivery.State.choices),
        required=False,
        allow_empty=False,
        max_length=len(Delivery.State),
        help_text="Only deliveries in one of these states.",
    )
    event = _text(MAX_REF_LENGTH, filters.EVENT_HELP)
    other_events = serializers.BooleanField(default=False, help_text=filters.OTHER_EVENTS_HELP)
    project = _text(MAX_NAME_LENGTH, "Its slug.", trim_whitespace=False)
    hook = _text(MAX_NAME_LENGTH, "The id of the hook.", trim_whitespace=False)
    received_from = _moment(filters.FROM_HELP)
    received_before = _moment(filters.BEFORE_HELP)
    failure_group = _text(filters.MAX_GROUP_LENGTH, filters.FAILING_HELP)
    replay = _number(filters.MAX_KEY, "Last asked for by this replay.")
    search = _text(MAX_REF_LENGTH, filters.SEARCH_HELP)

    receivers = NamedChoice(
        "ReplayReceivers",
        Replay.Receivers.choices,
        default=Replay.Receivers.FAILED,
        help_text="Which receivers of a delivery are run.",
    )
    only = serializers.ListField(
        child=serializers.CharField(max_length=MAX_LABEL_LENGTH),
        required=False,
        allow_empty=False,
        max_length=_MOST_RECEIVERS,
        help_text="Only these receivers, by their dotted paths.",
    )
    limit = _number(_MOST, "At most so many deliveries, the oldest first.")
    batch_size = _number(
        MAX_BATCH_SIZE,
        "How many are opened at a time.",
        default=BATCH_SIZE,
        initial=BATCH_SIZE,
        allow_null=False,
    )
    per_minute = _number(_MOST, "How many are opened in a minute at most.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Make the selection and the order of what was given, all of which has to be known."""
        unknown = set(self.initial_data) - set(self.fields) - _OF_THE_FORM
        if unknown:
            # Taken for nothing, a misspelt filter would select every delivery.
            told = {one_line(name, MAX_NAME_LENGTH): ["No such field."] for name in unknown}
            raise serializers.ValidationError(told)
        try:
            self.selection = Selection(
                primary_keys=_keys_of(attrs.get("deliveries")),
                states=tuple(attrs.get("state", ())),
                up_to=attrs.get("up_to"),
                **{name: attrs[name] for name in _SELECTION},
            )
            self.order = Order(
                receivers=Replay.Receivers(attrs["receivers"]),
                only=tuple(attrs.get("only", ())),
                **{name: attrs[name] for name in _ORDER},
            )
        except ValueError as error:
            raise serializers.ValidationError(str(error)) from error
        return attrs


class StartSerializer(PlanSerializer):
    """The plan that was looked at, with its `up_to`: of what has come in since, nothing is run."""

    up_to = serializers.IntegerField(
        min_value=0,
        max_value=filters.MAX_KEY,
        help_text="`up_to` of the plan. No delivery that came later is run.",
    )
    reason = serializers.CharField(
        max_length=MAX_REASON_LENGTH,
        default="",
        allow_blank=True,
        help_text="Kept with the replay.",
    )


class PlannedReceiverSerializer(serializers.Serializer[PlannedReceiver]):
    """A receiver that would run."""

    receiver = serializers.CharField(source="label", help_text="Its dotted path.")
    runs = serializers.IntegerField(help_text="How often it would run.")
    again = serializers.IntegerField(help_text="How often of these although it has succeeded.")


class PlannedSerializer(serializers.Serializer[Plan]):
    """What a replay would do if it were started now."""

    up_to = serializers.IntegerField(
        source="ceiling", help_text="To be given to the start, so that it reaches no further."
    )
    matching = serializers.IntegerField(
        help_text=f"Deliveries that are selected; {MAX_COUNTED + 1} is said for any larger number."
    )
    selected = serializers.IntegerField(help_text="Of these, those within `limit`; as far.")
    looked_at = serializers.IntegerField(
        help_text="Of these, the first, which the other numbers are about: at most "
        f"{MAX_LOOKED_AT}. Those behind them are run as well."
    )
    opened = serializers.IntegerField(help_text="Of these, those that would be run again.")
    pruned = serializers.IntegerField(help_text="Left alone: their bytes have been removed.")
    running = serializers.IntegerField(help_text="Left alone: a process runs them just now.")
    waiting = serializers.IntegerField(
        help_text="Left alone: they wait for all of their receivers, or for another replay."
    )
    receivers = PlannedReceiverSerializer(many=True, help_text="Most runs first.")
    gone = serializers.SerializerMethodField(
        help_text="Receivers that ran on them and are not connected any more, with how often."
    )
    first = DeliverySerializer(many=True, help_text="The first of the deliveries.")

    @extend_schema_field({"type": "object", "additionalProperties": {"type": "integer"}})
    def get_gone(self, plan: Plan) -> dict[str, int]:
        """Return the receivers that are gone."""
        return dict(plan.gone)


class PlanRequestExtension(OpenApiSerializerExtension):
    """Says that a plan takes no other fields than its own."""

    target_class = PlanSerializer
    match_subclasses = True

    def map_serializer(self, auto_schema: Any, direction: Any) -> dict[str, Any]:
        """Return the fields, and that there are no others."""
        schema = auto_schema._map_serializer(self.target, direction, bypass_extensions=True)
        return {**schema, "additionalProperties": False}


def _keys_of(delivery_ids: list[str] | None) -> tuple[int, ...] | None:
    """Return the primary keys of deliveries. Raises ValueError if one is not known."""
    if delivery_ids is None:
        return None
    named = Delivery.objects.on_primary().filter(delivery_id__in=delivery_ids)
    keys = dict(named.values_list("delivery_id", "pk"))
    unknown = [delivery_id for delivery_id in delivery_ids if delivery_id not in keys]
    if unknown:
        raise ValueError(f"No delivery has the id {unknown[0]}.")
    return tuple(keys.values())

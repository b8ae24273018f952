"""What is told of a replay, and of how far it is."""

from __future__ import annotations

from typing import Final

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from ..models import Delivery, Replay
from .openapi import NamedChoice
from .serializers import AddressField

_COUNTS: Final = {"type": "object", "additionalProperties": {"type": "integer"}}


class ReplaySerializer(serializers.ModelSerializer[Replay]):
    """One request to run deliveries again, and how far it is."""

    url = AddressField("replays-detail")
    state = NamedChoice("ReplayState", Replay.State.choices, read_only=True)
    receivers = NamedChoice("ReplayReceivers", Replay.Receivers.choices, read_only=True)
    only = serializers.ListField(
        child=serializers.CharField(),
        read_only=True,
        help_text="The names of the only receivers that it runs; empty for any.",
    )
    left = serializers.IntegerField(
        read_only=True,
        allow_null=True,
        help_text="How many deliveries are still to be opened or skipped; null as long as "
        "`selected` is.",
    )

    class Meta:
        model = Replay
        fields: tuple[str, ...] = (
            "url",
            "id",
            "state",
            "requested_by",
            "requested_at",
            "reason",
            "receivers",
            "only",
            "selected",
            "accepted",
            "skipped",
            "left",
            "batch_size",
            "per_minute",
            "next_batch_at",
            "ended_at",
        )
        read_only_fields = fields


class ReplayDetailSerializer(ReplaySerializer):
    """A replay with what it selects, and what has become of that."""

    selection = serializers.DictField(
        read_only=True, help_text="Which deliveries it is for, as they were chosen."
    )
    deliveries = serializers.SerializerMethodField(
        help_text="How many of the deliveries that it was the last to ask for are in which state."
    )

    class Meta(ReplaySerializer.Meta):
        fields = (*ReplaySerializer.Meta.fields, "selection", "deliveries")
        read_only_fields = fields

    @extend_schema_field(_COUNTS)
    def get_deliveries(self, replay: Replay) -> dict[str, int]:
        """Count the deliveries of a replay by state."""
        return Delivery.objects.on_primary().filter(replay=replay).counted_by("state")

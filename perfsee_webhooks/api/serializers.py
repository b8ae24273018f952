"""What is told of the rows. None of it is a signature, a secret, or what stands in a body."""

from __future__ import annotations

from typing import Any, Final

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from ..envelope import SIGNATURE_HEADER
from ..models import Arrival, Delivery, ReceiverRun, Rejection
from .openapi import NamedChoice, address_of
from .permissions import VIEW_RUNS

# A delivery that is replayed every day has runs without end; the others are in the list of runs.
MAX_RUNS: Final = 100
MAX_SHARING_BODY: Final = 10

_HEADERS: Final = {"type": "object", "additionalProperties": {"type": "string"}}
_IDS: Final = {"type": "array", "items": {"type": "string"}}


@extend_schema_field({"type": "string", "format": "uri"})
class AddressField(serializers.Field[Any, Any, Any, Any]):
    """The address of something that belongs to a row, wherever the site has mounted the API."""

    def __init__(self, view: str, attribute: str = "pk", **kwargs: Any) -> None:
        self.view, self.attribute = view, attribute
        super().__init__(source="*", read_only=True, **kwargs)

    def to_representation(self, row: Any) -> str:
        """Return the address."""
        return address_of(
            self.context["request"], self.view, **{self.attribute: getattr(row, self.attribute)}
        )


def _without_signature(headers: dict[str, str]) -> dict[str, str]:
    return {name: headers[name] for name in headers if name.lower() != SIGNATURE_HEADER.lower()}


class RunSerializer(serializers.ModelSerializer[ReceiverRun]):
    """One run of one receiver on one delivery."""

    url = AddressField("runs-detail")
    delivery_id = serializers.CharField(
        source="delivery.delivery_id", read_only=True, help_text="The delivery that it ran on."
    )
    trigger = NamedChoice("RunTrigger", ReceiverRun.Trigger.choices, read_only=True)
    outcome = NamedChoice("RunOutcome", ReceiverRun.Outcome.choices, read_only=True)
    duration_ms = serializers.FloatField(
        read_only=True, help_text="How long the receiver took, in milliseconds."
    )
    replay = serializers.IntegerField(
        source="replay_id", read_only=True, allow_null=True, help_text="The replay it was part of."
    )

    class Meta:
        model = ReceiverRun
        fields: tuple[str, ...] = (
            "url",
            "id",
            "delivery_id",
            "receiver",
            "number",
            "attempt",
            "trigger",
            "outcome",
            "started_at",
            "duration_ms",
            "exception",
            "place",
            "gave_up",
            "failure_group",
            "replay",
            "requested_by",
        )
        read_only_fields = fields


class RunDetailSerializer(RunSerializer):
    """A run with its traceback."""

    class Meta(RunSerializer.Meta):
        fields = (*RunSerializer.Meta.fields, "traceback")
        read_only_fields = fields


class ArrivalSerializer(serializers.Serializer[Arrival]):
    """One arrival of a delivery."""

    received_at = serializers.DateTimeField(read_only=True, help_text="When it came.")
    hook_id = serializers.CharField(
        read_only=True, help_text="The hook that it said it came from. Not signed."
    )
    verified_by = serializers.CharField(
        read_only=True, help_text="The place in the settings of the secret that signed it."
    )


class DeliverySerializer(serializers.ModelSerializer[Delivery]):
    """A delivery, as a list shows it."""

    url = AddressField("deliveries-detail", "delivery_id")
    state = NamedChoice("DeliveryState", Delivery.State.choices, read_only=True)
    replay = serializers.IntegerField(
        source="replay_id",
        read_only=True,
        allow_null=True,
        help_text="The replay that it was last asked for by.",
    )

    class Meta:
        model = Delivery
        fields: tuple[str, ...] = (
            "url",
            "delivery_id",
            "event_type",
            "project",
            "branch",
            "commit_hash",
            "summary",
            "hook_id",
            "verified_by",
            "state",
            "attempts",
            "received_at",
            "next_attempt_at",
            "settled_at",
            "body_pruned_at",
            "repeats",
            "last_repeated_at",
            "replay",
        )
        read_only_fields = fields


class DeliveryDetailSerializer(DeliverySerializer):
    """A delivery with its headers, when it came, and what its receivers did. Not its body."""

    body = AddressField("deliveries-body", "delivery_id", help_text="Where the exact bytes are.")
    is_signed = serializers.BooleanField(
        read_only=True, help_text="Whether a secret vouches for the body."
    )
    same_body_as = serializers.SerializerMethodField(
        help_text="The first deliveries that came under other ids with the very same body, 10 at "
        "most: somebody may have sent it again."
    )
    headers = serializers.SerializerMethodField(
        help_text="The headers worth keeping. None of them is signed."
    )
    arrivals = ArrivalSerializer(
        many=True, read_only=True, help_text="The first arrival, and the repeats still known."
    )
    runs = RunSerializer(
        source="newest_runs",
        many=True,
        read_only=True,
        allow_null=True,
        help_text=f"The newest {MAX_RUNS} runs, newest first; the list of runs has all of them. "
        "Null for whoever may not view runs.",
    )

    class Meta(DeliverySerializer.Meta):
        fields = (
            *DeliverySerializer.Meta.fields,
            "is_signed",
            "body",
            "body_sha256",
            "same_body_as",
            "handed_over_at",
            "lease_expires_at",
            "headers",
            "arrivals",
            "runs",
        )
        read_only_fields = fields

    @extend_schema_field(_IDS)
    def get_same_body_as(self, delivery: Delivery) -> list[str]:
        """Return their ids, the first to come first."""
        others = Delivery.objects.sharing_body_with(delivery)[:MAX_SHARING_BODY]
        return [other.delivery_id for other in others]

    @extend_schema_field(_HEADERS)
    def get_headers(self, delivery: Delivery) -> dict[str, str]:
        """Return the headers without the signature."""
        return _without_signature(delivery.headers)

    def to_representation(self, instance: Delivery) -> dict[str, Any]:
        """Leave out the runs for whoever may not view them."""
        told: dict[str, Any] = super().to_representation(instance)
        user = self.context["request"].user
        may_view_runs = user.has_perm(f"{Delivery._meta.app_label}.{VIEW_RUNS}")
        return told if may_view_runs else {**told, "runs": None}


class RejectionSerializer(serializers.ModelSerializer[Rejection]):
    """A refused request. All but the reason is what its sender claimed."""

    url = AddressField("rejections-detail")
    reason = NamedChoice("RejectionReason", Rejection.Reason.choices, read_only=True)
    accepted_as = serializers.CharField(
        source="accepted_as.delivery_id",
        default=None,
        read_only=True,
        allow_null=True,
        help_text="The id of the delivery that it was accepted as.",
    )

    class Meta:
        model = Rejection
        fields: tuple[str, ...] = (
            "url",
            "id",
            "reason",
            "detail",
            "delivery_id",
            "event_type",
            "project",
            "hook_id",
            "body_size",
            "verified_by",
            "received_at",
            "not_kept",
            "accepted_as",
            "accepted_at",
            "accepted_by",
        )
        read_only_fields = fields


class RejectionDetailSerializer(RejectionSerializer):
    """A refused request with its headers. Neither its signature nor its body."""

    body = AddressField("rejections-body", help_text="Where the bytes that were kept are.")
    headers = serializers.SerializerMethodField(help_text="The headers worth keeping.")

    class Meta(RejectionSerializer.Meta):
        fields = (*RejectionSerializer.Meta.fields, "body", "headers")
        read_only_fields = fields

    @extend_schema_field(_HEADERS)
    def get_headers(self, rejection: Rejection) -> dict[str, str]:
        """Return the headers without the signature."""
        return _without_signature(rejection.headers)


class AcceptanceSerializer(serializers.Serializer[Any]):
    """The delivery that a refused request was accepted as."""

    url = serializers.URLField(read_only=True)
    delivery_id = serializers.CharField(read_only=True)
    is_new = serializers.BooleanField(
        read_only=True, help_text="False if the same delivery was stored already."
    )

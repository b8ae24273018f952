"""The deliveries: what came, what became of each, and its exact bytes."""

from __future__ import annotations

from typing import Any, Final, cast

from django.db.models import Prefetch, QuerySet
from django.http.response import HttpResponseBase
from drf_spectacular.utils import extend_schema_view
from rest_framework.decorators import action
from rest_framework.request import Request

from ..models import Delivery, DeliveryQuerySet, ReceiverRun
from .bodies import AS_BYTES, BYTES, DOCUMENTED_BYTES, as_download
from .conflicts import Gone
from .filters import DeliveryFilters
from .openapi import documented
from .pagination import NewestReceivedFirst
from .permissions import VIEW_BODY
from .serializers import MAX_RUNS, DeliveryDetailSerializer, DeliverySerializer
from .viewsets import RowsViewSet

_PRUNED: Final = "The bytes have been removed, as KEEP_BODIES says. Their SHA-256 is still known."


@extend_schema_view(
    list=documented(
        "List deliveries", DeliverySerializer(many=True), 400, description="Newest first."
    ),
    retrieve=documented(
        "Show a delivery",
        DeliveryDetailSerializer,
        description="With its headers, its arrivals and its runs.",
    ),
)
class DeliveryViewSet(RowsViewSet):
    """What Perfsee sent: each delivery once, however often it came."""

    queryset = Delivery.objects.all()
    list_serializer_class = DeliverySerializer
    serializer_class = DeliveryDetailSerializer
    filterset_class = DeliveryFilters
    pagination_class = NewestReceivedFirst
    # What Perfsee and the logs know it by; the primary key is known to the database alone.
    lookup_field = "delivery_id"
    # All that a stored id can hold.
    lookup_value_regex = "[0-9A-Za-z][0-9A-Za-z._:~=+@-]{0,127}"
    rights_of = {
        "view": ("view_delivery",),
        "body": ("view_delivery", VIEW_BODY),
    }

    def get_queryset(self) -> DeliveryQuerySet:
        """Return deliveries with no more of them than the action tells."""
        deliveries = cast("DeliveryQuerySet", super().get_queryset())
        if self.action != "retrieve":
            return deliveries
        runs = ReceiverRun.objects.select_related("delivery").order_by("-pk")
        newest = runs.defer(
            "traceback", "delivery__body", "delivery__headers", "delivery__repeat_log"
        )
        prefetched = Prefetch("runs", newest[:MAX_RUNS], to_attr="newest_runs")
        return deliveries.defer("body").prefetch_related(prefetched)

    def filter_queryset(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Narrow a list down. A delivery that is named by its id is looked up by that alone."""
        if self.action != "list":
            return queryset
        return cast("DeliveryQuerySet", super().filter_queryset(queryset)).without_body()

    @documented(
        "Download the body of a delivery",
        {(200, BYTES): DOCUMENTED_BYTES},
        304,
        412,
        reasons={410: _PRUNED},
    )
    @action(detail=True, **AS_BYTES)
    def body(self, request: Request, **lookup: str) -> HttpResponseBase:
        """Answer with the exact bytes that Perfsee sent, over which the signature was made."""
        delivery = self.get_object()
        if delivery.body_pruned_at:
            raise Gone(_PRUNED)
        return as_download(
            request,
            bytes(delivery.body),
            name=f"perfsee-{delivery.delivery_id}",
            sha256=delivery.body_sha256,
        )

"""The refused requests, and the door to accept one after all."""

from __future__ import annotations

from hashlib import sha256
from typing import Any, cast

from django.db.models import QuerySet
from django.http.response import HttpResponseBase
from drf_spectacular.utils import extend_schema_view
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer

from .. import tasks
from ..acceptance import NotAccepted, accept
from ..models import Rejection
from .bodies import AS_BYTES, BYTES, DOCUMENTED_BYTES, as_download
from .conflicts import Conflict
from .filters import RejectionFilters
from .openapi import address_of, documented
from .pagination import NewestReceivedFirst
from .permissions import ACCEPT, VIEW_BODY
from .serializers import AcceptanceSerializer, RejectionDetailSerializer, RejectionSerializer
from .viewsets import RowsViewSet

_NOT_TOLD = ("accepted_as__body", "accepted_as__headers", "accepted_as__repeat_log")


@extend_schema_view(
    list=documented(
        "List refused requests", RejectionSerializer(many=True), 400, description="Newest first."
    ),
    retrieve=documented(
        "Show a refused request", RejectionDetailSerializer, description="With its headers."
    ),
)
class RejectionViewSet(RowsViewSet):
    """Requests that were refused. All but the reason is what their senders claimed."""

    queryset = Rejection.objects.all()
    list_serializer_class = RejectionSerializer
    serializer_class = RejectionDetailSerializer
    filterset_class = RejectionFilters
    pagination_class = NewestReceivedFirst
    rights_of = {
        "view": ("view_rejection",),
        "body": ("view_rejection", VIEW_BODY),
        "accept": ("view_rejection", ACCEPT),
    }

    def get_queryset(self) -> QuerySet[Rejection]:
        """Return refused requests with no more of them than the action tells."""
        rejections = cast("QuerySet[Rejection]", super().get_queryset())
        if self.action == "body":
            return rejections
        told = rejections.select_related("accepted_as").defer("body", *_NOT_TOLD)
        return told.defer("headers") if self.action == "list" else told

    @documented(
        "Download the body of a refused request", {(200, BYTES): DOCUMENTED_BYTES}, 304, 412
    )
    @action(detail=True, **AS_BYTES)
    def body(self, request: Request, **lookup: str) -> HttpResponseBase:
        """Answer with the bytes that were kept: cut where nobody has signed them and they are many.

        `body_size` is how many came.
        """
        rejection = self.get_object()
        body = bytes(rejection.body)
        return as_download(
            request, body, name=f"perfsee-rejection-{rejection.pk}", sha256=sha256(body).hexdigest()
        )

    @documented(
        "Accept a refused request after all",
        AcceptanceSerializer,
        400,
        415,
        reasons={409: "It stays refused: it passes no better than it did, or is accepted already."},
    )
    @action(detail=True, methods=["post"], serializer_class=Serializer)
    def accept(self, request: Request, **lookup: str) -> Response:
        """Store it as a delivery that has arrived when the request did, and have it processed.

        It has to pass what every request has to pass, by the secrets that are set now.
        """
        rejection = self.get_object()
        try:
            accepted = accept(rejection.pk, accepted_by=request.user.get_username())
        except NotAccepted as refusal:
            raise Conflict(str(refusal)) from refusal
        delivery = accepted.delivery
        told: dict[str, Any] = {
            "url": address_of(request, "deliveries-detail", delivery_id=delivery.delivery_id),
            "delivery_id": delivery.delivery_id,
            "is_new": accepted.is_new,
        }
        response = Response(AcceptanceSerializer(told).data)
        if accepted.is_new:
            tasks.schedule([delivery.pk], response=response)
        return response

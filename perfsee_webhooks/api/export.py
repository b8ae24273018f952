"""The list of deliveries as a file, on all of its pages."""

from __future__ import annotations

from typing import Any, Final, cast

from django.http.response import HttpResponseBase
from django_filters.rest_framework import DjangoFilterBackend
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse
from rest_framework import serializers
from rest_framework.request import Request

from ..export import Export, Format
from ..models import Delivery, DeliveryQuerySet
from .bodies import AS_BYTES
from .filters import DeliveryFilters
from .openapi import documented
from .permissions import VIEW_BODY
from .viewsets import ApiViewSet

_DESCRIPTION: Final = (
    "Lowest primary key first. It is streamed, and ends with what was stored when it began. An "
    "export that cannot be read to its end breaks off with a last line that is neither JSON nor "
    "CSV. With bodies it takes the permission to view them as well."
)
_FILES: Final = {
    (200, media_type): OpenApiResponse(OpenApiTypes.BINARY, "The file.")
    for media_type in ("application/x-ndjson", "text/csv")
}


class ExportOptions(serializers.Serializer[Any]):
    """How an export is written. The name `format` is REST framework's own."""

    file_format = serializers.ChoiceField(
        [str(name) for name in Format],
        default=str(Format.NDJSON),
        help_text="NDJSON, an object a line, or CSV.",
    )
    with_body = serializers.BooleanField(
        default=False, help_text="With the exact bodies, in NDJSON alone."
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse bodies in a table."""
        if attrs["with_body"] and attrs["file_format"] == Format.CSV:
            raise serializers.ValidationError({"with_body": ["CSV has no bodies."]})
        return attrs


class ExportViewSet(ApiViewSet):
    """All that the list of deliveries finds, as one file."""

    rights_of = {"view": ("view_delivery",)}
    queryset = Delivery.objects.all()
    serializer_class = ExportOptions
    filter_backends = (DjangoFilterBackend,)
    filterset_class = DeliveryFilters
    pagination_class = None
    parameters = ("file_format", "with_body")
    renderer_classes = AS_BYTES["renderer_classes"]
    content_negotiation_class = AS_BYTES["content_negotiation_class"]

    @documented(
        "Export deliveries",
        _FILES,
        400,
        operation_id="perfsee_export",
        description=_DESCRIPTION,
        parameters=[ExportOptions],
        filters=True,
    )
    def list(self, request: Request) -> HttpResponseBase:
        """Stream what the filters find."""
        options = ExportOptions(data=request.query_params)
        options.is_valid(raise_exception=True)
        given = options.validated_data
        return Export(
            deliveries=cast("DeliveryQuerySet", self.filter_queryset(self.get_queryset())),
            format=Format(given["file_format"]),
            with_body=given["with_body"],
        ).response(request._request)

    @property
    def rights(self) -> tuple[str, ...]:
        """The permissions that the export needs: for bodies that to view them as well."""
        options = ExportOptions(data=self.request.query_params)
        with_body = options.is_valid() and options.validated_data["with_body"]
        return (*super().rights, VIEW_BODY) if with_body else super().rights

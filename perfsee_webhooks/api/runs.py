"""The runs: what each receiver did with each delivery."""

from __future__ import annotations

from typing import cast

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema_view

from ..models import ReceiverRun
from .filters import RunFilters
from .openapi import documented
from .serializers import RunDetailSerializer, RunSerializer
from .viewsets import RowsViewSet


@extend_schema_view(
    list=documented("List runs", RunSerializer(many=True), 400, description="Newest first."),
    retrieve=documented(
        "Show a run", RunDetailSerializer, description="With the traceback of a failed one."
    ),
)
class RunViewSet(RowsViewSet):
    """What each receiver did with each delivery."""

    queryset = ReceiverRun.objects.select_related("delivery").defer(
        "delivery__body", "delivery__headers", "delivery__repeat_log"
    )
    list_serializer_class = RunSerializer
    serializer_class = RunDetailSerializer
    filterset_class = RunFilters
    rights_of = {"view": ("view_receiverrun",)}

    def get_queryset(self) -> QuerySet[ReceiverRun]:
        """Return runs, of which only a detail tells the traceback."""
        runs = cast("QuerySet[ReceiverRun]", super().get_queryset())
        return runs.defer("traceback") if self.action == "list" else runs

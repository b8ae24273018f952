"""The replays: plan one, start what was planned, watch it, and hold it up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db.models import QuerySet
from django.http import QueryDict
from drf_spectacular.utils import extend_schema_view
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.exceptions import ParseError, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer
from rest_framework.settings import api_settings

from .. import replay as replaying
from ..models import Replay
from .conflicts import Conflict
from .filters import ReplayFilters
from .openapi import documented
from .permissions import REPLAY
from .plans import PlannedSerializer, PlanSerializer, StartSerializer
from .replay_serializers import ReplayDetailSerializer, ReplaySerializer
from .viewsets import RowsViewSet


@extend_schema_view(
    list=documented("List replays", ReplaySerializer(many=True), 400, description="Newest first."),
    retrieve=documented(
        "Show a replay",
        ReplayDetailSerializer,
        description="With what it selects, and what has become of that.",
    ),
)
class ReplayViewSet(RowsViewSet):
    """Deliveries that are run again: first planned, then started as it was planned."""

    queryset = Replay.objects.all()
    list_serializer_class = ReplaySerializer
    serializer_class = ReplayDetailSerializer
    filterset_class = ReplayFilters
    rights_of = {
        "view": ("view_replay",),
        **dict.fromkeys(("plan", "create", "pause", "resume", "cancel"), REPLAY),
    }

    def get_queryset(self) -> QuerySet[Replay]:
        """Return replays as they are, not as a replica knows them."""
        return Replay.objects.on_primary()

    def get_serializer_class(self) -> type[serializers.BaseSerializer[Any]]:
        """Return what a start is read by, or as any list and detail."""
        return StartSerializer if self.action == "create" else super().get_serializer_class()

    @documented("Plan a replay", PlannedSerializer, 400, 415, body=PlanSerializer)
    @action(detail=False, methods=["post"], serializer_class=PlanSerializer)
    def plan(self, request: Request) -> Response:
        """Count on the real rows what a replay would do. Nothing is run, and nothing recorded."""
        asked = PlanSerializer(data=_data_of(request))
        asked.is_valid(raise_exception=True)
        planned = replaying.plan(asked.selection, asked.order)
        told = PlannedSerializer(planned, context=self.get_serializer_context())
        return Response(_without_form(told))

    @documented(
        "Start a replay", ReplayDetailSerializer, 400, 415, status=201, body=StartSerializer
    )
    def create(self, request: Request) -> Response:
        """Start what a plan has shown: the same request, with the `up_to` that the plan gave.

        Without it nothing is started, and what came in after the plan is never run.
        """
        asked = StartSerializer(data=_data_of(request))
        asked.is_valid(raise_exception=True)
        started = replaying.start(
            asked.selection,
            asked.order,
            requested_by=request.user.get_username(),
            reason=asked.validated_data["reason"],
        )
        told = self._told(started)
        response = Response(told, status=201, headers={"Location": told["url"]})
        replaying.schedule(started, response=response)
        return response

    @documented(
        "Pause a replay",
        ReplayDetailSerializer,
        400,
        415,
        reasons={409: "It is not running."},
    )
    @action(detail=True, methods=["post"], serializer_class=Serializer)
    def pause(self, request: Request, **lookup: str) -> Response:
        """Open no more deliveries for now. Those that were opened already still run."""
        return Response(self._told(self._changed(Replay.pause)))

    @documented(
        "Go on with a replay",
        ReplayDetailSerializer,
        400,
        415,
        reasons={409: "It is not paused."},
    )
    @action(detail=True, methods=["post"], serializer_class=Serializer)
    def resume(self, request: Request, **lookup: str) -> Response:
        """Go on after a pause."""
        replay = self._changed(Replay.resume)
        response = Response(self._told(replay))
        replaying.schedule(replay, response=response)
        return response

    @documented(
        "Cancel a replay",
        ReplayDetailSerializer,
        400,
        415,
        reasons={409: "It has ended already."},
    )
    @action(detail=True, methods=["post"], serializer_class=Serializer)
    def cancel(self, request: Request, **lookup: str) -> Response:
        """Open no more deliveries, ever. Those that were opened already still run."""
        return Response(self._told(self._changed(Replay.cancel)))

    def _changed(self, change: Callable[[Replay], bool]) -> Replay:
        """Return the replay once a change of state is done to it. Raises Conflict."""
        replay: Replay = self.get_object()
        if not change(replay):
            replay.refresh_from_db(fields=("state",))
            raise Conflict(f"Replay {replay.pk} is {replay.state}: nothing is changed.")
        return replay

    def _told(self, replay: Replay) -> dict[str, Any]:
        told = ReplayDetailSerializer(replay, context=self.get_serializer_context())
        return _without_form(told)


def _data_of(request: Request) -> Any:
    """Return what was posted. Raises ParseError, and ValidationError for an empty field."""
    if request.query_params.keys() - {str(api_settings.URL_FORMAT_OVERRIDE)}:
        raise ParseError("What a replay is for stands in the body of the request.")
    try:
        return _as_json(request.data)
    except RecursionError as error:
        raise ParseError("The body is nested too deeply to be read.") from error


def _as_json(data: Any) -> Any:
    """Return the fields of a form without those that a page of the API has left empty.

    Whoever sends a form by themselves has named what is in it: empty, it would be read as "any".

    Raises:
        ValidationError: they have sent one that is empty.
    """
    if not isinstance(data, QueryDict):
        return data
    empty = [name for name, values in data.lists() if not any(values)]
    if empty and "csrfmiddlewaretoken" not in data:
        raise ValidationError({name: ["This field may not be blank."] for name in empty})
    given = data.copy()
    for name in empty:
        del given[name]
    return given


def _without_form(told: serializers.Serializer[Any]) -> dict[str, Any]:
    """Return what is told as it is: of a serializer's, a page would make its next form."""
    return dict(told.data)

"""The figures that a monitor asks for."""

from __future__ import annotations

from drf_spectacular.helpers import forced_singular_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from .. import stats
from .openapi import documented
from .viewsets import ApiViewSet


class StatsSerializer(serializers.Serializer[stats.Stats]):
    """Where the site stands. A count that would take long to make is told as `max_counted`."""

    measured_at = serializers.DateTimeField(help_text="The moment that all of it is about.")
    max_counted = serializers.SerializerMethodField(
        help_text="No more rows than these are counted: a count of so many means at least so many."
    )
    received = serializers.IntegerField(help_text="Deliveries whose turn is to come at once.")
    processing = serializers.IntegerField(
        help_text="Deliveries that a process is running, or was when it died."
    )
    failed = serializers.IntegerField(
        help_text="Deliveries that wait for another attempt, be it due or not."
    )
    dead = serializers.IntegerField(
        help_text="Deliveries whose last attempt failed: nothing more will be done about them."
    )
    waiting = serializers.IntegerField(help_text="Received and failed ones.")
    due = serializers.IntegerField(help_text="Of these, those whose attempt is due.")
    overdue = serializers.IntegerField(
        help_text="Deliveries that nobody was told of in time: they wait for the sweep."
    )
    longest_wait_seconds = serializers.SerializerMethodField(
        help_text="For how long the one that is due the longest has been due."
    )
    last_received_at = serializers.DateTimeField(
        allow_null=True, help_text="When a delivery last came for the first time."
    )
    last_swept_at = serializers.DateTimeField(allow_null=True, help_text="When a sweep last began.")
    is_sweep_missed = serializers.BooleanField(
        help_text="Whether no sweep ran in time although deliveries wait for it."
    )
    refused_last_hour = serializers.IntegerField(
        help_text="Requests that were refused within the last hour and not accepted since."
    )
    replays_running = serializers.IntegerField(
        help_text="Replays that have deliveries left to open, and are not paused."
    )
    replays_stalled = serializers.IntegerField(
        help_text="Those of them that nobody is at work on, though their next batch is due."
    )

    def get_max_counted(self, _measured: stats.Stats) -> int:
        """Return how far is counted."""
        return stats.MAX_COUNTED

    def get_longest_wait_seconds(self, measured: stats.Stats) -> float | None:
        """Return the wait in seconds."""
        wait = measured.longest_wait
        return None if wait is None else wait.total_seconds()


class StatsViewSet(ApiViewSet):
    """Where the site stands, for a monitor: cheap however many deliveries there are."""

    rights_of = {"view": ("view_delivery",)}
    serializer_class = StatsSerializer
    pagination_class = None

    @documented(
        "Show where the site stands",
        forced_singular_serializer(StatsSerializer),
        operation_id="perfsee_stats",
    )
    def list(self, request: Request) -> Response:
        """Count what waits, what is dead and what was refused, and say when the sweep last ran."""
        return Response(StatsSerializer(stats.stats()).data)

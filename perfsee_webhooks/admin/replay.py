"""The admin of replays: who asked for what, and why."""

from __future__ import annotations

from django.contrib import admin

from ..models import Replay
from .base import ReadOnlyAdmin


@admin.register(Replay)
class ReplayAdmin(ReadOnlyAdmin):
    """Replays, newest first."""

    list_display = (
        "requested_at",
        "requested_by",
        "receivers",
        "accepted",
        "skipped",
        "reason",
    )
    list_filter = ("requested_at",)
    sortable_by = ("requested_at",)

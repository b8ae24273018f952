"""The admin of replays: who asked for what, and why."""

from __future__ import annotations

from django.contrib import admin
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from ..models import Replay
from .base import ReadOnlyAdmin, moment_of
from .filters import ReplayFilter


@admin.register(Replay)
class ReplayAdmin(ReadOnlyAdmin):
    """Replays, newest first."""

    list_display = ("requested", "requested_by", "receivers", "accepted", "skipped", "reason")
    list_filter = ("requested_at",)
    sortable_by = ("requested",)
    fieldsets = (
        (None, {"fields": ("requested", "requested_by", "reason", "receivers")}),
        ("Deliveries", {"fields": ("accepted", "skipped", "deliveries")}),
    )

    requested = moment_of("requested_at", "requested")

    @admin.display(description="how far it is")
    def deliveries(self, replay: Replay) -> SafeString:
        """Link to the deliveries that no later replay has taken over, with their states."""
        address = reverse(f"{self.admin_site.name}:perfsee_webhooks_delivery_changelist")
        return format_html(
            '<a href="{}?{}={}">See its deliveries</a>',
            address,
            ReplayFilter.parameter_name,
            replay.pk,
        )

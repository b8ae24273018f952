"""The admin of refused requests."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString

from ..models import Rejection
from .base import NOTHING, ReadOnlyAdmin, moment_of, two_lines
from .received import Received


@admin.register(Rejection)
class RejectionAdmin(ReadOnlyAdmin):
    """Refused requests with the reason. All else on the page is what a stranger claimed."""

    list_display = ("shown_reason", "claimed", "received")
    list_filter = ("reason", "received_at")
    sortable_by = ("received",)
    search_fields = ("delivery_id__startswith", "hook_id__startswith", "project__startswith")
    search_help_text = "The beginning of a delivery id, hook id or project, as it was claimed."
    fieldsets = (
        (None, {"fields": ("reason", "detail", "received", "verified_by")}),
        (
            "What the request claimed",
            {"fields": ("delivery_id", "event_type", "project", "hook_id", "body_size")},
        ),
    )

    received = moment_of("received_at", "received")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Rejection]:
        """Return the rejections without their bodies."""
        return super().get_queryset(request).defer("body", "headers")

    @admin.display(description="reason")
    def shown_reason(self, rejection: Rejection) -> SafeString:
        """Say why it was refused, and what its sender was told."""
        return two_lines(rejection.get_reason_display(), rejection.detail)

    @admin.display(description="claimed")
    def claimed(self, rejection: Rejection) -> SafeString:
        """Say what it claimed to be about, and where from."""
        return two_lines(rejection.project or NOTHING, rejection.event_type, rejection.hook_id)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Show a refused request with its body and its headers."""
        rejection: Rejection = context["original"]
        rejection.refresh_from_db(fields=("body", "headers"))
        context |= {
            "received": Received.read(
                bytes(rejection.body), rejection.headers, cut_from=rejection.body_size
            ),
            "body_size": rejection.body_size,
        }
        return super().render_change_form(request, context, *args, **kwargs)

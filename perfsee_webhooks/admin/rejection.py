"""The admin of refused requests."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse

from ..models import Rejection
from .base import ReadOnlyAdmin, shown_body


@admin.register(Rejection)
class RejectionAdmin(ReadOnlyAdmin):
    """Refused requests with the reason. All else on the page is what a stranger claimed."""

    list_display = ("received_at", "reason", "detail", "event_type", "project", "hook_id")
    list_filter = ("reason", "received_at")
    sortable_by = ("received_at",)
    search_fields = ("delivery_id__startswith", "hook_id__startswith", "project__startswith")
    search_help_text = "The beginning of a delivery id, hook id or project, as it was claimed."
    fieldsets = (
        (None, {"fields": ("reason", "detail", "received_at", "verified_by")}),
        (
            "What the request claimed",
            {"fields": ("delivery_id", "event_type", "project", "hook_id", "body_size")},
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Rejection]:
        """Return the rejections without their bodies."""
        return super().get_queryset(request).defer("body", "headers")

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show a refused request with its body and its headers."""
        rejection = self.get_object(request, object_id)
        context = {**(extra_context or {})}
        if rejection is not None:
            context |= {
                "shown_body": shown_body(bytes(rejection.body)),
                "body_size": rejection.body_size,
                "shown_headers": sorted(rejection.headers.items()),
            }
        return super().change_view(request, object_id, form_url, context)

"""The admin of refused requests: why each was refused, and the door to accept it after all."""

from __future__ import annotations

from typing import Any, Final

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from .. import tasks
from ..acceptance import NotAccepted, accept, first_with_its_body, why_not
from ..diagnosis import diagnose
from ..models import Delivery, Rejection
from .base import NOTHING, ReadOnlyAdmin, may, moment_of, two_lines
from .received import Received

_ACCEPT_URL: Final = "perfsee_webhooks_rejection_accept"


class AcceptedFilter(admin.SimpleListFilter):
    """Refused requests that were accepted as a delivery after all, or were not."""

    title = "accepted"
    parameter_name = "accepted"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Offer both."""
        return [("yes", "Yes"), ("no", "No")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Rejection]) -> QuerySet[Rejection]:
        """Keep those of the chosen kind."""
        is_refused = {"yes": False, "no": True}.get(self.value() or "")
        if is_refused is None:
            return queryset
        return queryset.filter(accepted_at__isnull=is_refused)


@admin.register(Rejection)
class RejectionAdmin(ReadOnlyAdmin):
    """Refused requests with the reason. All else on the page is what a stranger claimed."""

    list_display = ("shown_reason", "claimed", "received", "acceptance")
    list_filter = ("reason", AcceptedFilter, "received_at")
    sortable_by = ("received",)
    search_fields = ("delivery_id__startswith", "hook_id__startswith", "project__startswith")
    search_help_text = "The beginning of a delivery id, hook id or project, as it was claimed."
    fieldsets = (
        (None, {"fields": ("reason", "detail", "received", "verified_by", "others")}),
        (
            "What the request claimed",
            {"fields": ("delivery_id", "event_type", "project", "hook_id", "body_size")},
        ),
    )

    received = moment_of("received_at", "received")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Rejection]:
        """Return the rejections without their bodies."""
        return super().get_queryset(request).defer("body", "headers")

    def get_urls(self) -> list[URLPattern]:
        """Add the address that accepts a request."""
        view = self.admin_site.admin_view(self.accept_view)
        return [path("<int:primary_key>/accept/", view, name=_ACCEPT_URL), *super().get_urls()]

    @admin.display(description="reason")
    def shown_reason(self, rejection: Rejection) -> SafeString:
        """Say why it was refused, what its sender was told, and how many others there were."""
        others = f"after {rejection.not_kept:,} that were not kept" if rejection.not_kept else ""
        return two_lines(rejection.get_reason_display(), others, rejection.detail)

    @admin.display(description="claimed")
    def claimed(self, rejection: Rejection) -> SafeString:
        """Say what it claimed to be about, and where from."""
        return two_lines(rejection.project or NOTHING, rejection.event_type, rejection.hook_id)

    @admin.display(description="accepted")
    def acceptance(self, rejection: Rejection) -> str:
        """Say whether it was accepted as a delivery after all."""
        return "Yes" if rejection.accepted_at else NOTHING

    @admin.display(description="not kept before it")
    def others(self, rejection: Rejection) -> str:
        """Say how many requests before it were refused without being kept."""
        if not rejection.not_kept:
            return "None."
        return f"{rejection.not_kept:,}, which came quicker than a process keeps them."

    def has_accept_permission(self, request: HttpRequest) -> bool:
        """Say whether the user may accept refused requests."""
        return may(request, "accept_rejection")

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Show a refused request with what was wrong with it, its body and its headers."""
        rejection: Rejection = context["original"]
        rejection.refresh_from_db(fields=("body", "headers"))
        known = _delivery(delivery_id=rejection.delivery_id)
        context |= {
            "findings": diagnose(rejection, known, first_with_its_body(rejection)),
            "why_not": why_not(rejection, known),
            "can_accept": self.has_accept_permission(request),
            "can_view_deliveries": may(request, "view_delivery"),
            "accept_url": reverse(f"{self.admin_site.name}:{_ACCEPT_URL}", args=[rejection.pk]),
            "accepted_as": _delivery(pk=rejection.accepted_as_id),
            "received": (
                Received.read(
                    bytes(rejection.body), rejection.headers, cut_from=rejection.body_size
                )
                if may(request, "view_delivery_body")
                else Received.withheld(rejection.headers)
            ),
            "body_size": rejection.body_size,
        }
        return super().render_change_form(request, context, *args, **kwargs)

    def accept_view(self, request: HttpRequest, primary_key: int) -> HttpResponse:
        """Accept a refused request as a delivery, and have it processed."""
        if not (self.has_view_permission(request) and self.has_accept_permission(request)):
            raise PermissionDenied
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        name = f"{self.admin_site.name}:perfsee_webhooks_rejection_change"
        response = HttpResponseRedirect(reverse(name, args=[primary_key]))
        try:
            accepted = accept(primary_key, accepted_by=request.user.get_username())
        except NotAccepted as refusal:
            self.message_user(request, f"It was not accepted. {refusal}", messages.ERROR)
            return response
        what = "Accepted as" if accepted.is_new else "It is stored already, as"
        link = self._named(request, accepted.delivery)
        self.message_user(request, format_html("{} {}.", what, link), messages.SUCCESS)
        if accepted.is_new:
            tasks.schedule([accepted.delivery.pk], response=response)
        return response

    def _named(self, request: HttpRequest, delivery: Delivery) -> str:
        named = f"delivery {delivery.delivery_id}"
        if not may(request, "view_delivery"):
            return named
        name = f"{self.admin_site.name}:perfsee_webhooks_delivery_change"
        return format_html('<a href="{}">{}</a>', reverse(name, args=[delivery.pk]), named)


def _delivery(**lookup: Any) -> Delivery | None:
    """Return the one delivery that there is, without its body; None where nothing is asked for."""
    if not all(lookup.values()):
        return None
    return Delivery.objects.without_body().filter(**lookup).first()

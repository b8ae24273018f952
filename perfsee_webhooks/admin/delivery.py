"""The admin of deliveries: the list, the page of one, and the replay of those selected."""

from __future__ import annotations

from functools import partial
from typing import Any, cast

from django.contrib import admin, messages
from django.db.models import OuterRef, QuerySet, Subquery, Sum
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from ..models import Delivery, DeliveryQuerySet, ReceiverRun
from .base import NOTHING, ReadOnlyAdmin, moment_of, two_lines
from .detail import detail_of, fieldsets_of
from .export import EXPORT_URL, export_view
from .filters import EventFilter, FailureGroupFilter, ProjectFilter, ReplayFilter
from .overview import OVERVIEW_URL, overview_view
from .planning import DRY_RUN_URL, PLAN_URL, dry_run_view, keys_query, may_replay, plan_query


@admin.register(Delivery)
class DeliveryAdmin(ReadOnlyAdmin):
    """Deliveries as they came, what their receivers did, and the door to run them again."""

    list_display = ("shown_delivery", "progress", "received", "duration")
    list_display_links = ("shown_delivery",)
    list_filter = (
        "state",
        EventFilter,
        ProjectFilter,
        "received_at",
        ReplayFilter,
        FailureGroupFilter,
    )
    sortable_by = ("received",)
    search_fields = (
        "delivery_id__startswith",
        "hook_id__startswith",
        "project__startswith",
        "commit_hash__startswith",
        "branch__startswith",
    )
    search_help_text = "The beginning of a delivery id, hook id, project, commit hash or branch."
    actions = ("replay_selected",)

    received = moment_of("received_at", "received")
    next_attempt = moment_of("next_attempt_at", "next attempt")
    lease_expires = moment_of("lease_expires_at", "being run until")
    settled = moment_of("settled_at", "settled")
    pruned = moment_of("body_pruned_at", "bytes pruned")

    def get_urls(self) -> list[URLPattern]:
        """Add the overview, the dry run and the export."""
        wrap = self.admin_site.admin_view
        view = wrap(partial(dry_run_view, model_admin=self))
        dry_run = path("<int:primary_key>/dry-run/", view, name=DRY_RUN_URL)
        view = wrap(partial(overview_view, model_admin=self))
        overview = path("overview/", view, name=OVERVIEW_URL)
        download = wrap(partial(export_view, model_admin=self))
        export = path("export/<str:kind>/", download, name=EXPORT_URL)
        return [overview, dry_run, export, *super().get_urls()]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Delivery]:
        """Return the deliveries with the time that their receivers took, without their bodies."""
        runs = ReceiverRun.objects.filter(delivery=OuterRef("pk")).order_by()
        took = runs.values("delivery").annotate(total=Sum("duration")).values("total")
        deliveries = cast("DeliveryQuerySet", super().get_queryset(request))
        return deliveries.without_body().annotate(took=Subquery(took))

    def get_fieldsets(self, request: HttpRequest, obj: Delivery | None = None) -> Any:
        """Return the fields by who vouches for them; a delivery is only ever looked at."""
        return fieldsets_of(obj) if obj else super().get_fieldsets(request, obj)

    @admin.display(description="delivery")
    def shown_delivery(self, delivery: Delivery) -> SafeString:
        """Say what it is about, or name it by its id."""
        about = delivery.summary or delivery.delivery_id
        return two_lines(about, delivery.event_type, delivery.project)

    @admin.display(description="state")
    def shown_state(self, delivery: Delivery) -> SafeString:
        """Show the state as a badge."""
        return format_html(
            '<span class="perfsee-badge perfsee-{}">{}</span>',
            delivery.state,
            delivery.get_state_display(),
        )

    @admin.display(description="state")
    def progress(self, delivery: Delivery) -> SafeString:
        """Show the state, and how many attempts it took if it was more than one."""
        attempts = f"{delivery.attempts} attempts" if delivery.attempts > 1 else ""
        return two_lines(self.shown_state(delivery), attempts)

    @admin.display(description="duration")
    def duration(self, delivery: Delivery) -> str:
        """Show how long the receivers took in all their runs."""
        took = getattr(delivery, "took", None)
        return NOTHING if took is None else f"{took.total_seconds() * 1000:,.0f} ms"

    @admin.display(description="SHA-256 of body")
    def digest(self, delivery: Delivery) -> str:
        """Show the digest of the body, which stays when the body is pruned."""
        return delivery.body_sha256

    @admin.display(description="page on Perfsee")
    def perfsee_page(self, delivery: Delivery) -> SafeString | str:
        """Link to what the delivery is about, on Perfsee's own site."""
        event = delivery.event
        if not event.page_path:
            return NOTHING
        if not event.perfsee_url:
            return f"{event.page_path} (set PERFSEE_URL for a link)"
        return format_html('<a href="{0}" rel="noreferrer">{0}</a>', event.perfsee_url)

    def has_replay_permission(self, request: HttpRequest) -> bool:
        """Say whether the user may replay deliveries."""
        return may_replay(request)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Show a delivery with all that helps to understand it."""
        context |= {
            **detail_of(request, self, context["original"]),
            "can_replay": self.has_replay_permission(request),
        }
        return super().render_change_form(request, context, *args, **kwargs)

    @admin.action(description="Replay selected deliveries…", permissions=["replay"])
    def replay_selected(
        self, request: HttpRequest, queryset: QuerySet[Delivery]
    ) -> HttpResponse | None:
        """Lead to the plan of a replay of those selected, or of all that the filter finds."""
        try:
            query = (
                plan_query(request.GET)
                if request.POST.get("select_across") == "1"
                else keys_query(queryset.values_list("pk", flat=True))
            )
        except (ValueError, OverflowError) as error:
            self.message_user(request, str(error), messages.ERROR)
            return None
        return HttpResponseRedirect(reverse(f"{self.admin_site.name}:{PLAN_URL}") + f"?{query}")

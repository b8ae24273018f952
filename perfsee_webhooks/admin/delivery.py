"""The admin of deliveries: the list, the page of one, and the replay of those selected."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.auth import get_permission_codename
from django.db.models import OuterRef, QuerySet, Subquery, Sum
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from .. import replay, tasks
from ..conf import webhook_settings
from ..models import Delivery, ReceiverRun, Replay
from .base import ReadOnlyAdmin, shown_body
from .filters import EventFilter, ProjectFilter

MAX_SELECTED = 1000


class ReplayForm(forms.Form):
    """What is asked before a replay."""

    receivers = forms.ChoiceField(
        choices=Replay.Receivers, initial=Replay.Receivers.FAILED, widget=forms.RadioSelect
    )
    reason = forms.CharField(required=False, max_length=200, help_text="Kept with the replay.")


@admin.register(Delivery)
class DeliveryAdmin(ReadOnlyAdmin):
    """Deliveries as they came, what their receivers did, and the door to run them again."""

    list_display = (
        "shown_summary",
        "shown_state",
        "event_type",
        "project",
        "received_at",
        "duration",
        "attempts",
    )
    list_display_links = ("shown_summary",)
    list_filter = ("state", EventFilter, ProjectFilter, "received_at")
    sortable_by = ("received_at",)
    search_fields = (
        "delivery_id__startswith",
        "hook_id__startswith",
        "project__startswith",
        "commit_hash__startswith",
        "branch__startswith",
    )
    search_help_text = "The beginning of a delivery id, hook id, project, commit hash or branch."
    actions = ("replay_selected",)
    fieldsets: ClassVar = (
        (
            None,
            {
                "fields": (
                    "summary",
                    "shown_state",
                    "event_type",
                    "project",
                    "branch",
                    "commit_hash",
                    "perfsee_page",
                )
            },
        ),
        (
            "Arrival",
            {
                "fields": (
                    "delivery_id",
                    "hook_id",
                    "verified_by",
                    "received_at",
                    "repeats",
                    "last_repeated_at",
                )
            },
        ),
        (
            "Processing",
            {"fields": ("attempts", "next_attempt_at", "lease_expires_at", "settled_at", "replay")},
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Delivery]:
        """Return the deliveries with the time that their receivers took, without their bodies."""
        runs = ReceiverRun.objects.filter(delivery=OuterRef("pk")).order_by()
        took = runs.values("delivery").annotate(total=Sum("duration")).values("total")
        deliveries: QuerySet[Delivery] = super().get_queryset(request).defer("body", "headers")
        return deliveries.annotate(took=Subquery(took))

    @admin.display(description="delivery")
    def shown_summary(self, delivery: Delivery) -> str:
        """Say what it is about, or name it by its id."""
        return delivery.summary or delivery.delivery_id

    @admin.display(description="state", ordering="state")
    def shown_state(self, delivery: Delivery) -> SafeString:
        """Show the state as a badge."""
        return format_html(
            '<span class="perfsee-badge perfsee-{}">{}</span>',
            delivery.state,
            delivery.get_state_display(),
        )

    @admin.display(description="duration")
    def duration(self, delivery: Delivery) -> str:
        """Show how long the receivers took in all their runs."""
        took = getattr(delivery, "took", None)
        return "–" if took is None else f"{took.total_seconds() * 1000:,.0f} ms"

    @admin.display(description="page on Perfsee")
    def perfsee_page(self, delivery: Delivery) -> SafeString | str:
        """Link to what the delivery is about, on Perfsee's own site."""
        path, site = delivery.event.page_path, webhook_settings.perfsee_url
        if not path:
            return "–"
        if not site:
            return f"{path} (set PERFSEE_URL for a link)"
        return format_html('<a href="{0}" rel="noreferrer">{0}</a>', site + path)

    def has_replay_permission(self, request: HttpRequest) -> bool:
        """Say whether the user may replay deliveries."""
        codename = get_permission_codename("replay", self.opts)
        return request.user.has_perm(f"{self.opts.app_label}.{codename}")

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show a delivery with its payload, its headers and the timeline of its runs."""
        delivery = self.get_object(request, object_id)
        context = {"can_replay": self.has_replay_permission(request), **(extra_context or {})}
        if delivery is not None:
            context |= {
                "shown_body": shown_body(bytes(delivery.body)),
                "body_size": len(delivery.body),
                "shown_headers": sorted(delivery.headers.items()),
                "runs": delivery.runs.all(),
                "action_checkbox_name": ACTION_CHECKBOX_NAME,
                "changelist_url": reverse(f"{self.admin_site.name}:{_CHANGELIST}"),
            }
        return super().change_view(request, object_id, form_url, context)

    @admin.action(description="Replay selected deliveries", permissions=["replay"])
    def replay_selected(
        self, request: HttpRequest, queryset: QuerySet[Delivery]
    ) -> HttpResponse | None:
        """Ask what to run again and why; once that is confirmed, start the replay."""
        primary_keys = list(queryset.order_by().values_list("pk", flat=True)[: MAX_SELECTED + 1])
        if len(primary_keys) > MAX_SELECTED:
            self.message_user(
                request,
                f"At most {MAX_SELECTED} deliveries can be selected for one replay.",
                messages.ERROR,
            )
            return None
        selected = Delivery.objects.filter(pk__in=primary_keys)
        form = ReplayForm(request.POST if "confirmed" in request.POST else None)
        if not form.is_valid():
            return self._confirmation(request, selected, form)
        return self._replay(request, selected, form)

    def _confirmation(
        self, request: HttpRequest, selected: QuerySet[Delivery], form: ReplayForm
    ) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": "Replay deliveries",
            "opts": self.opts,
            "media": self.media,
            "form": form,
            "deliveries": selected.defer("body", "headers"),
            "action_checkbox_name": ACTION_CHECKBOX_NAME,
        }
        return TemplateResponse(
            request, "admin/perfsee_webhooks/delivery/replay_confirmation.html", context
        )

    def _replay(
        self, request: HttpRequest, selected: QuerySet[Delivery], form: ReplayForm
    ) -> HttpResponse:
        started = replay.start(
            Delivery.objects.filter(pk__in=selected.values("pk")),
            receivers=Replay.Receivers(form.cleaned_data["receivers"]),
            requested_by=request.user.get_username(),
            reason=form.cleaned_data["reason"],
        )
        skipped = started.replay.skipped
        self.message_user(
            request,
            f"Replay {started.replay.pk} started: {started.replay.accepted} deliveries are run "
            f"again{f', {skipped} skipped since they are being run just now' if skipped else ''}.",
            messages.WARNING if skipped else messages.SUCCESS,
        )
        response = HttpResponseRedirect(request.get_full_path())
        tasks.schedule(started.primary_keys, response=response)
        return response


_CHANGELIST = f"{Delivery._meta.app_label}_{Delivery._meta.model_name}_changelist"

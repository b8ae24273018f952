"""The admin of deliveries: the list, the page of one, and the replay of those selected."""

from __future__ import annotations

from typing import Any, ClassVar, Final

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
from .base import NOTHING, ReadOnlyAdmin, moment_of, two_lines
from .filters import EventFilter, ProjectFilter, ReplayFilter
from .received import Received

# The confirmation sends one form field for each delivery, and Django refuses a form of more than
# 1000 fields (DATA_UPLOAD_MAX_NUMBER_FIELDS).
MAX_SELECTED: Final = 500


class ReplayForm(forms.Form):
    """What is asked before a replay."""

    receivers = forms.ChoiceField(
        label="Which receivers are run?",
        choices=Replay.Receivers,
        initial=Replay.Receivers.FAILED,
        widget=forms.RadioSelect,
    )
    reason = forms.CharField(
        required=False,
        max_length=200,
        help_text="Kept with the replay.",
        widget=forms.TextInput(attrs={"class": "vTextField"}),
    )


@admin.register(Delivery)
class DeliveryAdmin(ReadOnlyAdmin):
    """Deliveries as they came, what their receivers did, and the door to run them again."""

    list_display = ("shown_delivery", "progress", "received", "duration")
    list_display_links = ("shown_delivery",)
    list_filter = ("state", EventFilter, ProjectFilter, "received_at", ReplayFilter)
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
    fieldsets: ClassVar = (
        (
            None,
            {
                "classes": ("perfsee-plain",),
                "fields": (
                    "shown_state",
                    "summary",
                    "event_type",
                    "project",
                    "branch",
                    "commit_hash",
                    "perfsee_page",
                ),
            },
        ),
        (
            "Processing",
            {"fields": ("attempts", "next_attempt", "lease_expires", "settled", "replay")},
        ),
        (
            "Arrival",
            {
                "fields": (
                    "received",
                    "delivery_id",
                    "hook_id",
                    "verified_by",
                    "digest",
                    "repeats",
                    "last_repeated",
                )
            },
        ),
    )

    received = moment_of("received_at", "received")
    next_attempt = moment_of("next_attempt_at", "next attempt")
    lease_expires = moment_of("lease_expires_at", "being run until")
    settled = moment_of("settled_at", "settled")
    last_repeated = moment_of("last_repeated_at", "last repeat")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Delivery]:
        """Return the deliveries with the time that their receivers took, without their bodies."""
        runs = ReceiverRun.objects.filter(delivery=OuterRef("pk")).order_by()
        took = runs.values("delivery").annotate(total=Sum("duration")).values("total")
        deliveries: QuerySet[Delivery] = super().get_queryset(request).defer("body", "headers")
        return deliveries.annotate(took=Subquery(took))

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
        path, site = delivery.event.page_path, webhook_settings.perfsee_url
        if not path:
            return NOTHING
        if not site:
            return f"{path} (set PERFSEE_URL for a link)"
        return format_html('<a href="{0}" rel="noreferrer">{0}</a>', site + path)

    def has_replay_permission(self, request: HttpRequest) -> bool:
        """Say whether the user may replay deliveries."""
        codename = get_permission_codename("replay", self.opts)
        return request.user.has_perm(f"{self.opts.app_label}.{codename}")

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Show a delivery with the timeline of its runs, its payload and its headers."""
        delivery: Delivery = context["original"]
        delivery.refresh_from_db(fields=("body", "headers"))
        runs = list(delivery.runs.all())
        context |= {
            "can_replay": self.has_replay_permission(request),
            "runs": runs,
            "run_to_look_at": _run_to_look_at(delivery, runs),
            "received": Received.read(bytes(delivery.body), delivery.headers),
            "body_size": len(delivery.body),
            "changelist_url": self._changelist_url(),
            "action_checkbox_name": ACTION_CHECKBOX_NAME,
        }
        return super().render_change_form(request, context, *args, **kwargs)

    @admin.action(description="Replay selected deliveries", permissions=["replay"])
    def replay_selected(
        self, request: HttpRequest, queryset: QuerySet[Delivery]
    ) -> HttpResponse | None:
        """Ask what to run again and why; once that is confirmed, start the replay."""
        primary_keys = list(queryset.order_by().values_list("pk", flat=True)[: MAX_SELECTED + 1])
        refusal = _why_not(primary_keys)
        if refusal:
            self.message_user(request, refusal, messages.ERROR)
            return None
        form = ReplayForm(request.POST if "confirmed" in request.POST else None)
        if not form.is_valid():
            return self._confirmation(request, primary_keys, form)
        return self._replay(request, primary_keys, form)

    def _confirmation(
        self, request: HttpRequest, primary_keys: list[int], form: ReplayForm
    ) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": "Replay deliveries",
            "opts": self.opts,
            "media": self.media,
            "form": form,
            "deliveries": Delivery.objects.filter(pk__in=primary_keys).without_body(),
            "filters": _filters_of_list(request),
            "changelist_url": self._changelist_url(),
            "back_url": self._back_url(request, primary_keys),
            "action_checkbox_name": ACTION_CHECKBOX_NAME,
        }
        return TemplateResponse(
            request, "admin/perfsee_webhooks/delivery/replay_confirmation.html", context
        )

    def _replay(
        self, request: HttpRequest, primary_keys: list[int], form: ReplayForm
    ) -> HttpResponse:
        started = replay.start(
            Delivery.objects.filter(pk__in=primary_keys),
            receivers=Replay.Receivers(form.cleaned_data["receivers"]),
            requested_by=request.user.get_username(),
            reason=form.cleaned_data["reason"],
        )
        gone = len(set(request.POST.getlist(ACTION_CHECKBOX_NAME)) - {*map(str, primary_keys)})
        is_partial = started.replay.skipped or gone
        self.message_user(
            request,
            _what_is_replayed(started.replay, gone),
            messages.WARNING if is_partial else messages.SUCCESS,
        )
        response = HttpResponseRedirect(self._back_url(request, primary_keys))
        tasks.schedule(started.primary_keys, response=response)
        return response

    def _changelist_url(self) -> str:
        return reverse(f"{self.admin_site.name}:{_URL_NAME}_changelist")

    def _back_url(self, request: HttpRequest, primary_keys: list[int]) -> str:
        """Return the address of the one delivery, or of the list with the filters it had."""
        if len(primary_keys) == 1:
            return reverse(f"{self.admin_site.name}:{_URL_NAME}_change", args=primary_keys)
        filters = _filters_of_list(request)
        return f"{self._changelist_url()}?{filters}" if filters else self._changelist_url()


_URL_NAME: Final = f"{Delivery._meta.app_label}_{Delivery._meta.model_name}"


def _filters_of_list(request: HttpRequest) -> str:
    """Return the query of the list that the deliveries were selected on.

    The confirmation carries it along and is sent to the list without it: of what was confirmed,
    a filter would drop the deliveries whose state has changed in the meantime.
    """
    return request.POST.get("filters", request.GET.urlencode())


def _run_to_look_at(delivery: Delivery, runs: list[ReceiverRun]) -> ReceiverRun | None:
    """Return the latest run that says why a delivery has not succeeded."""
    if delivery.state == Delivery.State.SUCCEEDED:
        return None
    return next((run for run in reversed(runs) if run.outcome != run.Outcome.SUCCEEDED), None)


def _why_not(primary_keys: list[int]) -> str:
    if len(primary_keys) > MAX_SELECTED:
        return (
            f"Nothing is replayed: at most {MAX_SELECTED} deliveries can be replayed at once from "
            "here. Filter the list."
        )
    return "" if primary_keys else "Nothing is replayed: the selected deliveries are gone."


def _what_is_replayed(started: Replay, gone: int) -> str:
    run = "1 delivery is run" if started.accepted == 1 else f"{started.accepted} deliveries are run"
    return "".join(
        (
            f"Replay {started.pk}: {run} again",
            f", {started.skipped} skipped since a process runs it just now"
            if started.skipped
            else "",
            f", {gone} no longer there" if gone else "",
            ".",
        )
    )

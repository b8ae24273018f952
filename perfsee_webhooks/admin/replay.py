"""The admin of replays: plan one, watch it, and hold it up."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from .. import replay as replaying
from ..models import Delivery, Replay
from ..models.queries import UNDER_WAY
from .base import ReadOnlyAdmin, moment_of, two_lines
from .filters import ReplayFilter
from .planning import PLAN_URL, may_replay, plan_view, require_replay_permission

# For so long the next batch may be on its way.
PATIENCE: Final = timedelta(seconds=15)

# What can be done to a replay by a button, and what is said once it is done.
_VERBS: Final[dict[str, tuple[Callable[[Replay], bool], str]]] = {
    "pause": (Replay.pause, "is paused. What was opened already still runs."),
    "resume": (Replay.resume, "goes on."),
    "cancel": (Replay.cancel, "is cancelled. What was opened already still runs."),
    "continue": (replaying.is_stalled, "goes on."),
}


@admin.register(Replay)
class ReplayAdmin(ReadOnlyAdmin):
    """Replays, newest first, and how far each of them is."""

    list_display = ("requested", "shown_progress", "requested_by", "receivers", "reason")
    list_filter = ("state", "requested_at")
    sortable_by = ("requested",)
    fieldsets = (
        (
            None,
            {
                "classes": ("perfsee-plain",),
                "fields": ("requested", "requested_by", "reason", "shown_selection"),
            },
        ),
        ("To whom, and how fast", {"fields": ("receivers", "shown_only", "batch_size", "pace")}),
    )

    requested = moment_of("requested_at", "requested")

    def get_urls(self) -> list[URLPattern]:
        """Add the plan, the progress, and what can be done to a replay."""
        wrap = self.admin_site.admin_view
        return [
            path("plan/", wrap(self._plan), name=PLAN_URL),
            path(
                "<int:primary_key>/progress/",
                wrap(self._progress),
                name="perfsee_webhooks_replay_progress",
            ),
            path(
                "<int:primary_key>/do/<str:verb>/",
                wrap(require_POST(self._do)),
                name="perfsee_webhooks_replay_do",
            ),
            *super().get_urls(),
        ]

    @admin.display(description="progress")
    def shown_progress(self, replay: Replay) -> SafeString:
        """Show how far it is."""
        done = f"{replay.looked_at} of {replay.of_how_many}"
        skipped = f"{replay.skipped} skipped" if replay.skipped else ""
        return two_lines(replay.get_state_display(), done, skipped)

    @admin.display(description="deliveries")
    def shown_selection(self, replay: Replay) -> str:
        """Say which deliveries it is for."""
        return ", ".join(replaying.Selection.from_json(replay.selection).described)

    @admin.display(description="only these receivers")
    def shown_only(self, replay: Replay) -> str:
        """Name the only receivers that it runs."""
        return ", ".join(replay.only) or "any"

    @admin.display(description="pace")
    def pace(self, replay: Replay) -> str:
        """Say how fast it may go."""
        return f"at most {replay.per_minute} in a minute" if replay.per_minute else "no limit"

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Show a replay with its progress."""
        context |= self._progress_of(request, context["original"])
        return super().render_change_form(request, context, *args, **kwargs)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the list with the way to the plan of another one."""
        return super().changelist_view(
            request, {**(extra_context or {}), "can_replay": may_replay(request)}
        )

    def _plan(self, request: HttpRequest) -> HttpResponse:
        return plan_view(request, model_admin=self)

    def _progress(self, request: HttpRequest, primary_key: int) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        context = self._progress_of(request, self._get(primary_key))
        return render(request, "admin/perfsee_webhooks/replay/progress.html", context)

    def _do(self, request: HttpRequest, primary_key: int, verb: str) -> HttpResponse:
        require_replay_permission(request)
        if verb not in _VERBS:
            raise Http404
        replay = self._get(primary_key)
        do, done = _VERBS[verb]
        response = HttpResponseRedirect(
            reverse(f"{self.admin_site.name}:perfsee_webhooks_replay_change", args=[replay.pk])
        )
        if not do(replay):
            messages.warning(request, f"Replay {replay.pk} is {replay.state}: nothing is changed.")
            return response
        messages.success(request, f"Replay {replay.pk} {done}")
        if replay.state == Replay.State.RUNNING:
            replaying.schedule(replay, response=response)
        return response

    def _get(self, primary_key: int) -> Replay:
        replay = Replay.objects.on_primary().filter(pk=primary_key).first()
        if replay is None:
            raise Http404
        return replay

    def _progress_of(self, request: HttpRequest, replay: Replay) -> dict[str, Any]:
        """Return what the progress shows: two statements, however large the replay is."""
        by_state = Delivery.objects.filter(replay=replay).counted_by("state")
        unsettled = sum(by_state.get(state, 0) for state in UNDER_WAY)
        a_while_ago = timezone.now() - PATIENCE
        taken_over = max(replay.accepted - sum(by_state.values()), 0)
        return {
            "replay": replay,
            "by_state": [(state, by_state[state]) for state in Delivery.State if state in by_state],
            "taken_over": taken_over,
            "settled": max(replay.looked_at - unsettled, 0),
            "is_moving": replay.state == Replay.State.RUNNING or unsettled,
            "is_stalled": replaying.is_stalled(replay) and replay.next_batch_at < a_while_ago,
            "can_replay": may_replay(request),
            "deliveries_query": f"{ReplayFilter.parameter_name}={replay.pk}",
        }

"""The pages that lead to a replay: the plan, and the dry run of one delivery."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import urlencode

from django import forms
from django.contrib import admin, messages
from django.contrib.admin import ModelAdmin
from django.contrib.admin.views.main import ALL_VAR, ERROR_FLAG, ORDER_VAR, PAGE_VAR, SEARCH_VAR
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from .. import replay
from ..envelope import MAX_NAME_LENGTH
from ..models import Delivery
from ..models.replay import counted
from ..signals import receivers_of
from ..text import one_line
from .base import may
from .filters import EventFilter, FailureGroupFilter, ProjectFilter, ReplayFilter
from .replay_form import MOMENT_FORMAT, PlanForm, StartForm

PLAN_URL: Final = "perfsee_webhooks_replay_plan"
DRY_RUN_URL: Final = "perfsee_webhooks_delivery_dry_run"

_FIELD_OF_FILTER: Final = {
    "state__exact": "states",
    EventFilter.parameter_name: "event",
    ProjectFilter.parameter_name: "project",
    "received_at__gte": "received_from",
    "received_at__lt": "received_before",
    ReplayFilter.parameter_name: "replay",
    FailureGroupFilter.parameter_name: "failure_group",
    SEARCH_VAR: "search",
}
_OF_THE_LIST_ALONE: Final = (ALL_VAR, ERROR_FLAG, ORDER_VAR, PAGE_VAR)


def may_replay(request: HttpRequest) -> bool:
    """Say whether the user may replay deliveries, which shows what is in them."""
    return may(request, "replay_delivery", "view_delivery")


def require_replay_permission(request: HttpRequest) -> None:
    """Let through only who may replay deliveries. Raises PermissionDenied."""
    if not may_replay(request):
        raise PermissionDenied


def plan_query(filters: QueryDict) -> str:
    """Return the query that plans a replay of everything that a list of deliveries shows.

    Raises:
        ValueError: the list is filtered by something that no replay can be.
    """
    query = QueryDict(mutable=True)
    given = [(name, str(value)) for name in filters for value in filters.getlist(name)]
    for name, value in given:
        if name in _OF_THE_LIST_ALONE or (name == SEARCH_VAR and not value):
            continue
        is_pattern = name == EventFilter.parameter_name and bool({*value} & {*"*,"})
        if name not in _FIELD_OF_FILTER or not value or is_pattern:
            raise ValueError(f"No replay can be narrowed to {name}={value}: select the deliveries.")
        if name == EventFilter.parameter_name and value == EventFilter.OTHER:
            query["other_events"] = "on"
        elif name.startswith("received_at"):
            query[_FIELD_OF_FILTER[name]] = _local_moment(value)
        else:
            query.appendlist(_FIELD_OF_FILTER[name], value)
    return query.urlencode()


def keys_query(primary_keys: Iterable[int]) -> str:
    """Return the query that plans a replay of deliveries that were chosen one by one.

    Raises:
        ValueError: there is none, which would read as all of them.
    """
    keys = ",".join(map(str, primary_keys))
    if not keys:
        raise ValueError("Nothing is replayed: the selected deliveries are gone.")
    return urlencode({"keys": keys})


def _local_moment(value: str) -> str:
    """Return a moment of the list's address as the field of the form takes it."""
    moment = parse_datetime(value)
    if moment is None:
        raise ValueError(f"{value!r} is no moment.")
    local = timezone.localtime(moment) if timezone.is_aware(moment) else moment
    return local.strftime(MOMENT_FORMAT)


def plan_view(request: HttpRequest, *, model_admin: ModelAdmin[Any]) -> HttpResponse:
    """Show what a replay would do; what is started is what was shown, and no more."""
    require_replay_permission(request)
    form = PlanForm.prefilled(request.POST if request.method == "POST" else request.GET)
    # Only the plan knows how far it reaches: what was not shown cannot be started.
    was_shown = request.method == "POST" and "up_to" in request.POST
    start_form = StartForm(request.POST if was_shown else None)
    planned = None
    # Nothing that was chosen reads as everything: that is counted only for who asks for it.
    if request.method == "GET":
        _refuse_unknown(request.GET, form)
    if (request.GET or request.method == "POST") and form.is_valid():
        if was_shown and start_form.is_valid():
            return _start(request, form, start_form.cleaned_data["reason"], model_admin.admin_site)
        planned = replay.plan(form.selection, form.order)
    context = {
        **model_admin.admin_site.each_context(request),
        "title": "Plan a replay",
        "opts": model_admin.opts,
        "media": model_admin.media,
        "form": form,
        "start_form": start_form,
        "plan": planned,
        "matching": counted(planned.matching) if planned else "",
        "selected": counted(planned.selected) if planned else "",
        "previewed": _previewed(form, planned) if planned else [],
        "described": form.selection.described if planned else [],
        "plan_url": reverse(f"{model_admin.admin_site.name}:{PLAN_URL}"),
    }
    return TemplateResponse(request, "admin/perfsee_webhooks/replay/plan.html", context)


def _refuse_unknown(given: QueryDict, form: PlanForm) -> None:
    """Refuse what the form has no field for: taken for nothing, it would select every delivery."""
    for name in sorted(given.keys() - form.fields.keys()):
        form.add_error(None, f"{one_line(name, MAX_NAME_LENGTH)} narrows no replay down.")


def _previewed(form: PlanForm, planned: replay.Plan) -> list[tuple[str, str]]:
    """Return the fields that start what was shown: of what comes in later, nothing is taken."""
    given = form.given.copy()
    given.pop("limit", None)
    given["up_to"] = str(planned.ceiling)
    return [(name, str(value)) for name in form.fields for value in given.getlist(name) if value]


def _start(
    request: HttpRequest, form: PlanForm, reason: str, admin_site: admin.AdminSite
) -> HttpResponse:
    started = replay.start(
        form.selection, form.order, requested_by=request.user.get_username(), reason=reason
    )
    one = started.selected == 1
    deliveries = "1 delivery" if one else f"{started.of_how_many} deliveries"
    messages.success(request, f"Replay {started.pk} of {deliveries} is started.")
    if may(request, "view_replay"):
        address = reverse(f"{admin_site.name}:perfsee_webhooks_replay_change", args=[started.pk])
    else:
        address = reverse(f"{admin_site.name}:perfsee_webhooks_delivery_changelist")
    response = HttpResponseRedirect(address)
    replay.schedule(started, response=response)
    return response


class DryRunForm(forms.Form):
    """Which receivers of a delivery to try out."""

    def __init__(self, labels: list[str], again: set[str], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["only"] = forms.MultipleChoiceField(
            label="Which receivers are tried out?",
            choices=[
                (label, f"{label} (has succeeded already)" if label in again else label)
                for label in labels
            ],
            initial=[label for label in labels if label not in again],
            widget=forms.CheckboxSelectMultiple,
        )


def dry_run_view(
    request: HttpRequest, primary_key: int, *, model_admin: ModelAdmin[Any]
) -> HttpResponse:
    """Ask which receivers to try out; on POST run them, and show what was taken back."""
    require_replay_permission(request)
    delivery = Delivery.objects.filter(pk=primary_key).first()
    if delivery is None:
        raise Http404
    labels = [receiver.label for receiver in receivers_of(delivery.event_type, sender=Delivery)]
    again = replay.succeeded_on(delivery)
    form = DryRunForm(labels, again, request.POST if request.method == "POST" else None)
    rehearsal = None
    if form.is_valid() and delivery.body_pruned_at is None:
        rehearsal = replay.rehearse(delivery, only=tuple(form.cleaned_data["only"]))
    context = {
        **model_admin.admin_site.each_context(request),
        "title": "Dry run",
        "opts": model_admin.opts,
        "media": model_admin.media,
        "delivery": delivery,
        "form": form,
        "labels": labels,
        "rehearsal": rehearsal,
    }
    return TemplateResponse(request, "admin/perfsee_webhooks/delivery/dry_run.html", context)

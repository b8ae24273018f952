"""The deliveries next to one in the list that a reader came from, with its filters and search."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import Any, Final

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import SuspiciousOperation
from django.db import DataError
from django.db.models import Q, QuerySet
from django.http import HttpRequest, QueryDict
from django.urls import reverse
from django.utils.http import urlencode

from ..models import Delivery

_FILTERS: Final = "_changelist_filters"


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbours:
    """The addresses of the next newer and the next older delivery, empty where there is none."""

    newer: str = ""
    older: str = ""


class _Uncounted(ChangeList):
    """A list of which only the filters are wanted: it counts nothing and loads no page."""

    def get_results(self, request: HttpRequest) -> None:
        """Leave the rows where they are."""


def neighbours(request: HttpRequest, model_admin: Any, delivery: Delivery) -> Neighbours:
    """Return what is next to a delivery in the list that the page's address tells of.

    Two statements. A list whose filters make no sense counts as one without any.
    """
    filters = request.GET.get(_FILTERS, "")
    try:
        return _next_to(delivery, _filtered(request, model_admin, filters), model_admin, filters)
    except (DataError, IncorrectLookupParameters, OverflowError, SuspiciousOperation, ValueError):
        return _next_to(delivery, model_admin.get_queryset(request), model_admin, "")


def _filtered(request: HttpRequest, model_admin: Any, filters: str) -> QuerySet[Delivery]:
    list_request = copy(request)
    list_request.GET = QueryDict(filters)
    columns = model_admin.get_list_display(list_request)
    changelist = _Uncounted(
        list_request,
        model_admin.model,
        columns,
        model_admin.get_list_display_links(list_request, columns),
        [_without_choices(one) for one in model_admin.get_list_filter(list_request)],
        model_admin.date_hierarchy,
        model_admin.get_search_fields(list_request),
        model_admin.get_list_select_related(list_request),
        model_admin.list_per_page,
        model_admin.list_max_show_all,
        model_admin.list_editable,
        model_admin,
        model_admin.get_sortable_by(list_request),
        model_admin.search_help_text,
    )
    found: QuerySet[Delivery] = changelist.queryset
    return found


def _without_choices(list_filter: Any) -> Any:
    """Return a filter that offers what is chosen alone: to know of more, it may have to read."""
    if not (isinstance(list_filter, type) and issubclass(list_filter, admin.SimpleListFilter)):
        return list_filter

    def chosen(self: admin.SimpleListFilter, *_: Any) -> list[tuple[str | None, str]]:
        return [(self.value(), "")]

    return type(list_filter.__name__, (list_filter,), {"lookups": chosen})


def _next_to(
    delivery: Delivery, deliveries: QuerySet[Delivery], model_admin: Any, filters: str
) -> Neighbours:
    moment, key = delivery.received_at, delivery.pk
    newer = deliveries.filter(
        Q(received_at__gt=moment) | Q(pk__gt=key), received_at__gte=moment
    ).order_by("received_at", "pk")
    older = deliveries.filter(
        Q(received_at__lt=moment) | Q(pk__lt=key), received_at__lte=moment
    ).order_by("-received_at", "-pk")
    return Neighbours(
        newer=_address(newer, model_admin, filters), older=_address(older, model_admin, filters)
    )


def _address(deliveries: QuerySet[Delivery], model_admin: Any, filters: str) -> str:
    key = deliveries.values_list("pk", flat=True).first()
    if key is None:
        return ""
    name = f"{model_admin.opts.app_label}_{model_admin.opts.model_name}_change"
    address = reverse(f"{model_admin.admin_site.name}:{name}", args=[key])
    return f"{address}?{urlencode({_FILTERS: filters})}" if filters else address

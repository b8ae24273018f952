"""What the admin pages share: read-only, quick on large tables, and safe with hostile content."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Final

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db import DataError
from django.db.models import Model, QuerySet
from django.forms.widgets import Script
from django.http import HttpRequest
from django.utils import dateformat, timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from ..envelope import MAX_REF_LENGTH
from ..models import Delivery

MAX_COUNT: Final = 10_000
NOTHING: Final = "–"

# What Django's own filters of a choice and of a date put into the address.
_LOOKUPS: Final = ("exact", "gte", "lt")

# Django's own classes take no type argument when they run.
if TYPE_CHECKING:
    _Paginator = Paginator[Any]
    _ModelAdmin = admin.ModelAdmin[Any]
else:
    _Paginator, _ModelAdmin = Paginator, admin.ModelAdmin


class CappedPaginator(_Paginator):
    """Counts no further than `MAX_COUNT` rows: an exact count of a large table takes seconds."""

    @cached_property
    def count(self) -> int:
        """The number of rows, or one more than `MAX_COUNT` for any larger number."""
        rows: QuerySet[Any] = self.object_list  # type: ignore[assignment]  # the changelist's
        return rows.order_by().values("pk")[: MAX_COUNT + 1].count()


class ReadOnlyAdmin(_ModelAdmin):
    """Shows rows to whoever may view them, and lets nobody add, change or delete one."""

    paginator = CappedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER  # each would count the whole table
    list_per_page = 50
    empty_value_display = NOTHING

    class Media:
        css: ClassVar = {"all": ("perfsee_webhooks/admin.css",)}
        js = (Script("perfsee_webhooks/admin.js", defer=True),)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Rows come from Perfsee alone."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """What was received stays what it is."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """This is the only log there is."""
        return False

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        """Let an address filter by what the page offers: by any field, it would scan the table."""
        return lookup in {name for item in self.list_filter for name in _parameters_of(item)}

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        """Return the list; a value that no database takes sends the reader back to all of it."""
        try:
            changelist = super().get_changelist_instance(request)
        except (DataError, OverflowError, ValueError) as error:  # a NUL, a date before year 1
            raise IncorrectLookupParameters from error
        if not (changelist.has_active_filters or changelist.query):
            # Otherwise the page would offer to "show all" of what it shows already.
            changelist.full_result_count = changelist.result_count
        return changelist

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Search for no more than a column holds: a thousand words would be too long a query."""
        return super().get_search_results(request, queryset, search_term[:MAX_REF_LENGTH])


def may(request: HttpRequest, *codenames: str) -> bool:
    """Say whether the user has all of these permissions of this app."""
    return request.user.has_perms([f"{Delivery._meta.app_label}.{name}" for name in codenames])


def _parameters_of(list_filter: Any) -> list[str]:
    """Return the parameters of the address that a filter reads."""
    if isinstance(list_filter, str):
        return [f"{list_filter}__{lookup}" for lookup in _LOOKUPS]
    return [list_filter.parameter_name]


def shown_moment(moment: datetime | None) -> SafeString | str:
    """Show a moment to the second, which Django's own format of the admin leaves out."""
    if moment is None:
        return NOTHING
    local = timezone.localtime(moment) if timezone.is_aware(moment) else moment
    return format_html(
        '<time class="perfsee-moment" datetime="{}">{}</time>',
        local.isoformat(),
        dateformat.format(local, "Y-m-d H:i:s"),
    )


def moment_of(field: str, description: str) -> Callable[[Any, Any], SafeString | str]:
    """Return a column that shows a moment of a row."""

    @admin.display(description=description, ordering=field)
    def shown(_admin: Any, row: Any) -> SafeString | str:
        return shown_moment(getattr(row, field))

    return shown


def two_lines(first: str, *others: str) -> SafeString:
    """Show what matters of a row, and below it in small print what else there is to say."""
    return format_html(
        '<span class="perfsee-first">{}</span> <span class="perfsee-second">{}</span>',
        first,
        " · ".join(other for other in others if other),
    )

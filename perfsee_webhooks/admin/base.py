"""What the admin pages share: read-only, quick on large tables, and safe with hostile content."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Final

from django.contrib.admin import ModelAdmin
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.http import HttpRequest

from ..envelope import parse_body
from ..text import lines, pretty_json

MAX_COUNT: Final = 10_000
_MAX_SHOWN_BYTES: Final = 256 * 1024

# Django's own classes take no type argument when they run.
if TYPE_CHECKING:
    _Paginator = Paginator[Any]
    _ModelAdmin = ModelAdmin[Any]
else:
    _Paginator, _ModelAdmin = Paginator, ModelAdmin


class CappedPaginator(_Paginator):
    """Counts no further than `MAX_COUNT` rows: an exact count of a large table takes seconds."""

    @cached_property
    def count(self) -> int:
        """The number of rows, or one more than `MAX_COUNT` for any larger number."""
        rows: QuerySet[Any] = self.object_list  # type: ignore[assignment]  # the changelist's
        return rows[: MAX_COUNT + 1].count()


class ReadOnlyAdmin(_ModelAdmin):
    """Shows rows to whoever may view them, and lets nobody add, change or delete one."""

    paginator = CappedPaginator
    show_full_result_count = False
    list_per_page = 50

    class Media:
        css: ClassVar = {"all": ("perfsee_webhooks/admin.css",)}

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Rows come from Perfsee alone."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """What was received stays what it is."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """This is the only log there is."""
        return False


def shown_body(body: bytes) -> str:
    """Return a body for a page: indented if it is JSON, else its text, cut where it is long."""
    if len(body) > _MAX_SHOWN_BYTES:
        start = lines(body[:_MAX_SHOWN_BYTES].decode(errors="replace"), _MAX_SHOWN_BYTES)
        return f"{start}\n… (the first {_MAX_SHOWN_BYTES} of {len(body)} bytes)"
    try:
        return pretty_json(parse_body(body).raw)
    except (ValueError, RecursionError):
        return lines(body.decode(errors="replace"), _MAX_SHOWN_BYTES)

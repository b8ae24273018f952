"""Pages of rows, newest first, that stay right while new rows come in."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime
from typing import Any, Final

from django.conf import settings
from django.db.models import Model, Q
from django.utils import timezone
from rest_framework.exceptions import ValidationError
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request
from rest_framework.utils.urls import replace_query_param

from ..selection import as_stored
from .moments import is_within_reach

MAX_PAGE_SIZE: Final = 500
_LARGEST_KEY: Final = 2**63 - 1
_BACKWARDS: Final = "before"
_ONWARDS: Final = "after"

_Position = tuple[Any, ...]


class NewestFirst(CursorPagination):
    """Pages by primary key. A cursor names the row that the page begins behind.

    REST framework's own way counts rows that share a moment, and gives up beyond a thousand; the
    order here has no two rows alike.
    """

    page_size = 50
    page_size_query_param = "page_size"
    page_size_query_description = f"How many to return at once, from 1 to {MAX_PAGE_SIZE}."
    cursor_query_description = "Where the page begins, as `next` and `previous` say it."
    max_page_size = MAX_PAGE_SIZE
    ordering: tuple[str, ...] = ("-id",)

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any]:
        """Return the rows of the page that the cursor asks for.

        Raises:
            ValidationError: the cursor or the size of a page is none.
        """
        size = self.get_page_size(request)
        self._asked_at = request.build_absolute_uri()
        direction, position = self._asked_for(request)
        is_backwards = direction == _BACKWARDS
        names = [name.removeprefix("-") for name in self.ordering]
        order = names if is_backwards else self.ordering
        if position:
            lookup = "gt" if is_backwards else "lt"
            queryset = queryset.filter(_beyond(names, position, lookup))
        rows = list(queryset.order_by(*order)[: size + 1])
        page = rows[:size]
        has_more = len(rows) > size
        if is_backwards:
            page.reverse()
        self._previous = page[0] if page and (has_more if is_backwards else position) else None
        self._next = page[-1] if page and (is_backwards or has_more) else None
        self.display_page_controls = bool(self._previous or self._next)
        return page

    def get_page_size(self, request: Request) -> int:
        """Return how many rows a page has. Raises ValidationError."""
        given = request.query_params.get(self.page_size_query_param)
        if given is None:
            return self.page_size
        size = int(given) if given.isascii() and given.isdigit() and len(given) < 10 else 0
        if 1 <= size <= MAX_PAGE_SIZE:
            return size
        raise ValidationError({self.page_size_query_param: [f"From 1 to {MAX_PAGE_SIZE}."]})

    def get_next_link(self) -> str | None:
        """Return the address of the older rows."""
        return self._link(_ONWARDS, self._next)

    def get_previous_link(self) -> str | None:
        """Return the address of the newer rows."""
        return self._link(_BACKWARDS, self._previous)

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        """Return the parameters of a list, for the schema."""
        cursor, page_size = super().get_schema_operation_parameters(view)
        page_size["schema"] |= {
            "minimum": 1,
            "maximum": MAX_PAGE_SIZE,
            "default": self.page_size,
        }
        return [cursor, page_size]

    def _link(self, direction: str, row: Model | None) -> str | None:
        if row is None:
            return None
        values = (getattr(row, name.removeprefix("-")) for name in self.ordering)
        written = [direction, *(_written(value) for value in values)]
        cursor = urlsafe_b64encode(" ".join(written).encode()).decode()
        return replace_query_param(self._asked_at, self.cursor_query_param, cursor)

    def _asked_for(self, request: Request) -> tuple[str, _Position]:
        cursor = request.query_params.get(self.cursor_query_param)
        if cursor is None:
            return _ONWARDS, ()
        try:
            return self._read(urlsafe_b64decode(cursor.encode()).decode())
        except ValueError as error:
            raise ValidationError(
                {self.cursor_query_param: ["This is no cursor that this list has given."]}
            ) from error

    def _read(self, cursor: str) -> tuple[str, _Position]:
        """Return the direction and the position that a cursor names. Raises ValueError."""
        direction, *moments, key = cursor.split(" ")
        number = int(key)
        if (
            direction not in (_ONWARDS, _BACKWARDS)
            or len(moments) + 1 != len(self.ordering)
            or not 0 <= number <= _LARGEST_KEY
        ):
            raise ValueError(cursor)
        return direction, (*(_moment(text) for text in moments), number)


class NewestReceivedFirst(NewestFirst):
    """Pages by the moment that something was received, which an index is ordered by."""

    ordering = ("-received_at", "-id")


def _written(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if timezone.is_aware(moment) != settings.USE_TZ or not is_within_reach(moment):
        raise ValueError(text)
    return as_stored(moment)


def _beyond(names: list[str], position: _Position, lookup: str) -> Q:
    """Return what holds for the rows behind a position."""
    name, *others = names
    value, *following = position
    beyond = Q(**{f"{name}__{lookup}": value})
    if not others:
        return beyond
    # The first condition alone is what an index can be searched by.
    tied = Q(**{name: value}) & _beyond(others, tuple(following), lookup)
    return Q(**{f"{name}__{lookup}e": value}) & (beyond | tied)

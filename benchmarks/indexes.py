"""What each index of the large tables is for: how much slower which page is without it.

PostgreSQL takes no notice of an index that is marked as not valid, while it keeps it up to date.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from statistics import median
from typing import Any, Final

from django.db import Error as DatabaseFailure
from django.db import connection

from .measured import Index
from .pages import Ask, asks
from .plans import LARGE_TABLES

_ROUNDS: Final = 3
_GIVEN_UP_SECONDS: Final = 1
# What is less than this is taken for chance, and looked at no further.
_NOTICED_RATIO: Final = 1.3
_NOTICED_SECONDS: Final = 0.001


def measure() -> list[dict[str, Any]]:
    """Hide each index of the default database in turn, and ask for every page again."""
    pages = asks()
    with _giving_up():
        for ask in pages.values():
            _seconds(ask)
        usual = {name: median(_seconds(ask) for _ in range(_ROUNDS)) for name, ask in pages.items()}
        found = list(_indexes())
        for index in found:
            if not index.is_unique:
                with _hidden(index):
                    index.slower = dict(_slower(pages, usual))
    return [asdict(index) for index in found]


def _slower(
    pages: Mapping[str, Ask], usual: Mapping[str, float]
) -> Iterator[tuple[str, tuple[float, float]]]:
    for name, ask in pages.items():
        with_it = usual[name]
        noticed = max(with_it * _NOTICED_RATIO, with_it + _NOTICED_SECONDS)
        without = _seconds(ask)
        if noticed < without < _GIVEN_UP_SECONDS:
            without = min(without, *(_seconds(ask) for _ in range(_ROUNDS - 1)))
        if without > noticed:
            yield name, (with_it, without)


def _seconds(ask: Ask) -> float:
    begin = time.perf_counter()
    try:
        ask()
    except DatabaseFailure:  # it took too long
        return _GIVEN_UP_SECONDS
    return time.perf_counter() - begin


def _indexes() -> Iterator[Index]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.relname, pg_relation_size(c.oid), i.indisunique FROM pg_index i "
            "JOIN pg_class c ON c.oid = i.indexrelid WHERE i.indrelid = ANY(%s::regclass[]) "
            "ORDER BY i.indrelid, c.relname",
            [list(LARGE_TABLES)],
        )
        for name, size_bytes, is_unique in cursor.fetchall():
            yield Index(name=name, size_bytes=size_bytes, is_unique=is_unique)


@contextmanager
def _hidden(index: Index) -> Iterator[None]:
    _mark(index, is_valid=False)
    try:
        yield
    finally:
        _mark(index, is_valid=True)


def _mark(index: Index, *, is_valid: bool) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE pg_index SET indisvalid = %s WHERE indexrelid = %s::regclass",
            [is_valid, index.name],
        )


@contextmanager
def _giving_up() -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute(f"SET statement_timeout = '{_GIVEN_UP_SECONDS}s'")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = 0")

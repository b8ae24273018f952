"""How long each page takes with a million deliveries, beside the same page with ten thousand.

Django's test client asks for each in this process, as a superuser, in turns on both databases.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Final

from django.contrib.auth import get_user_model
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test import Client

from .asked import addresses, functions
from .measured import Page
from .plans import Recorder, database_named, on, recording

# More often than it takes where statements are kept: psycopg has one kept when it comes for the
# sixth time, and PostgreSQL may have one plan for all of its values after five more.
ROUNDS: Final = 15
# A page that takes so long once is not asked for again.
_SLOW_SECONDS: Final = 3.0

Ask = Callable[[], Any]


def measure(*, few: str, many: str) -> list[dict[str, Any]]:
    """Compare two databases of the server, and return the pages as JSON has them."""
    pages = compare(database_named(few), database_named(many))
    return [asdict(page) for page in pages]


def compare(few: BaseDatabaseWrapper, many: BaseDatabaseWrapper) -> list[Page]:
    """Ask for each page on both databases in turns, and return what was measured."""
    with on(few):
        of_few = asks()
    with on(many):
        of_many = asks()
    return [_page(name, few, of_few[name], many, of_many[name]) for name in of_few]


def asks() -> dict[str, Ask]:
    """Return what asks for each page of the default database, by the page's name."""
    user, _ = get_user_model().objects.get_or_create(
        username="someone", defaults={"is_superuser": True, "is_staff": True}
    )
    client = Client()
    client.force_login(user)
    pages = {
        name: (lambda address=address: client.get(address, headers={"Accept": "*/*"}))
        for name, address in addresses().items()
    }
    return pages | functions()


def _page(
    name: str,
    few: BaseDatabaseWrapper,
    ask_few: Ask,
    many: BaseDatabaseWrapper,
    ask_many: Ask,
) -> Page:
    page = Page(name=name)
    # The first time fills caches, and does not count.
    for ask, database in ((ask_few, few), (ask_many, many)):
        with on(database):
            _seconds(page, ask)
    for _number in range(ROUNDS):
        with on(few):
            page.few.append(_seconds(page, ask_few))
        with on(many):
            page.many.append(_seconds(page, ask_many))
        if page.many[-1] > _SLOW_SECONDS:
            break
    with on(many):
        with recording() as recorder:
            ask_many()
        _explain(page, recorder)
    return page


def _seconds(page: Page, ask: Ask) -> float:
    begin = time.perf_counter()
    answer = ask()
    seconds = time.perf_counter() - begin
    status = getattr(answer, "status_code", 200)
    if status != 200:
        page.failed = f"answered {status}"
    return seconds


def _explain(page: Page, recorder: Recorder) -> None:
    page.statements = len(recorder.statements)
    page.scanned = sorted(set().union(*(one.scanned for one in recorder.statements)))
    page.counts_everything = any(one.counts_everything for one in recorder.statements)
    if recorder.slowest is not None:
        page.slowest = recorder.slowest.sql
        page.plan = recorder.slowest.plan(carried_out=True)

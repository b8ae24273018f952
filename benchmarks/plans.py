"""The statements of a page as the database carried them out: how many, how long, by which plan."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from django.db import connection, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

LARGE_TABLES: Final = ("perfsee_webhooks_delivery", "perfsee_webhooks_receiverrun")
_SEQUENTIAL: Final = re.compile(rf"Seq Scan on ({'|'.join(LARGE_TABLES)})\b")
_EXACT_COUNT: Final = re.compile(
    rf'SELECT COUNT\(\*\) AS "__count" FROM "({"|".join(LARGE_TABLES)})"$'  # noqa: S608  # a pattern
)
_MAX_PLAN_LINES: Final = 60
# A scan that a limit ends early, since what it looks for is frequent, is none of the whole table.
_MANY_ROWS: Final = 100_000
_REMOVED: Final = re.compile(r"Rows Removed by Filter: (\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """A statement that was carried out."""

    sql: str
    parameters: Any
    seconds: float

    def plan(self, *, carried_out: bool) -> str:
        """Return what the database does with it; `carried_out` does it once more, and measures."""
        options = "ANALYZE, BUFFERS" if carried_out else "COSTS OFF"
        # A page only reads; what a command writes is taken back.
        if not self.sql.startswith(("SELECT", "UPDATE", "DELETE", "INSERT")):
            return ""
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN ({options}) {self.sql}", self.parameters)
            lines = [str(row[0]) for row in cursor.fetchall()]
            transaction.set_rollback(True)
        return "\n".join(lines[:_MAX_PLAN_LINES])

    @property
    def scanned(self) -> set[str]:
        """The large tables that it reads from their first row to their last."""
        if not _SEQUENTIAL.search(self.plan(carried_out=False)):
            return set()
        nodes = re.split(r"\n *->", self.plan(carried_out=True))
        scans = [(_SEQUENTIAL.search(node), _rows_read(node)) for node in nodes]
        return {found[1] for found, rows in scans if found and rows > _MANY_ROWS}

    @property
    def counts_everything(self) -> bool:
        """Whether it counts all rows of a large table."""
        return bool(_EXACT_COUNT.match(self.sql))


def _rows_read(node: str) -> int:
    """Return how many rows a node of a plan read, those that it left out among them."""
    first, *others = node.splitlines()
    produced = re.search(r"actual .*rows=(\d+) loops=(\d+)", first)
    removed = sum(int(number) for line in others for number in _REMOVED.findall(line))
    rows, loops = (int(produced[1]), int(produced[2])) if produced else (0, 0)
    return (rows + removed) * loops


@dataclass(slots=True)
class Recorder:
    """Statements in the order in which they were carried out."""

    statements: list[Statement] = field(default_factory=list)

    def __call__(self, execute: Any, sql: str, parameters: Any, *others: Any) -> Any:
        """Carry a statement out, as a wrapper of Django's."""
        begin = time.perf_counter()
        try:
            return execute(sql, parameters, *others)
        finally:
            seconds = time.perf_counter() - begin
            self.statements.append(Statement(sql=sql, parameters=parameters, seconds=seconds))

    @property
    def slowest(self) -> Statement | None:
        """The statement that took longest."""
        return max(self.statements, key=lambda statement: statement.seconds, default=None)


@contextmanager
def recording() -> Iterator[Recorder]:
    """Record the statements on the default database."""
    recorder = Recorder()
    with connection.execute_wrapper(recorder):
        yield recorder


@contextmanager
def on(wrapper: BaseDatabaseWrapper) -> Iterator[None]:
    """Let the default database be another one for a while."""
    before = connections["default"]
    connections["default"] = wrapper
    try:
        yield
    finally:
        connections["default"] = before


def database_named(name: str) -> BaseDatabaseWrapper:
    """Return a connection to another database of the same server."""
    wrapper = connections.create_connection("default")
    wrapper.settings_dict = {**wrapper.settings_dict, "NAME": name}
    return wrapper

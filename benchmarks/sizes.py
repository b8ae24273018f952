"""How many bytes a delivery of 2 kB takes on the disk of each database, table by index."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Final

from tests.mariadb import NoMariaDB, PrivateMariaDB, copied_database

from .databases import created
from .drawn import BODY_BYTES
from .plans import LARGE_TABLES
from .servers import durable_postgresql
from .site import answer_of
from .table import Figure, Listing, Report, figure

_OF_POSTGRESQL: Final = """
SELECT relname, pg_table_size(oid) FROM pg_class WHERE relname = ANY(%s)
UNION ALL
SELECT c.relname, pg_relation_size(c.oid)
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE i.indrelid = ANY(%s::regclass[])
"""
_OF_SQLITE: Final = """
SELECT d.name, SUM(d.pgsize) FROM dbstat d JOIN sqlite_master m ON m.name = d.name
WHERE m.tbl_name IN (%s, %s) GROUP BY d.name
"""
# The primary key is the table itself.
_OF_MARIADB: Final = """
SELECT IF(index_name = 'PRIMARY', table_name, index_name), stat_value * @@innodb_page_size
FROM mysql.innodb_index_stats
WHERE database_name = DATABASE() AND stat_name = 'size' AND table_name IN (%s, %s)
"""


def run(*, full: bool) -> Report:
    """Fill each database, and ask it for the sizes."""
    number = 100_000 if full else 10_000
    sizes: dict[str, dict[str, int]] = {}
    with ExitStack() as stack:
        for kind, url in _databases(stack):
            answer_of(url, "benchmarks.filling:fill", number=number)
            answer = answer_of(url, "benchmarks.sizes:measure")
            sizes[f"{kind} {answer['version']}"] = answer["sizes"]
    return Report(
        figures=[_figure(name, of_one, number) for name, of_one in sizes.items()],
        listings=[_listing(sizes, number)],
    )


def _databases(stack: ExitStack) -> Iterator[tuple[str, str]]:
    yield "PostgreSQL", created(stack.enter_context(durable_postgresql()), "sizes")
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    yield "SQLite", f"sqlite:///{folder}/sizes.sqlite3"
    try:
        server = PrivateMariaDB.start(is_durable=True)
    except NoMariaDB as error:
        print(error, flush=True)
        return
    stack.callback(server.stop)
    yield "MariaDB", stack.enter_context(copied_database(server.url, None))


def _figure(name: str, sizes: dict[str, int], number: int) -> Figure:
    indexes = sum(size for of, size in sizes.items() if of not in LARGE_TABLES)
    total = sum(sizes.values())
    return figure(
        f"bytes of a delivery with its runs ÷ bytes of its body, {name}",
        [total / number],
        [BODY_BYTES],
        note=f"{total / number:,.0f} bytes, {indexes / number:,.0f} of them indexes",
    )


def _listing(sizes: dict[str, dict[str, int]], number: int) -> Listing:
    names = [
        *LARGE_TABLES,
        *sorted({name for each in sizes.values() for name in each} - set(LARGE_TABLES)),
    ]
    return Listing(
        title=f"Bytes by delivery, with {number:,} of them",
        headings=("table or index", *sizes),
        rows=[
            (
                name,
                *(f"{each[name] / number:,.1f}" if name in each else "" for each in sizes.values()),
            )
            for name in names
        ],
    )


def measure() -> dict[str, Any]:
    """Return the bytes of each table and index of the default database, and its version."""
    from django.db import connection

    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT current_setting('server_version')")
            (version,) = cursor.fetchone()
            cursor.execute(_OF_POSTGRESQL, [list(LARGE_TABLES), list(LARGE_TABLES)])
        elif connection.vendor == "sqlite":
            cursor.execute("SELECT sqlite_version()")
            (version,) = cursor.fetchone()
            cursor.execute(_OF_SQLITE, LARGE_TABLES)
        else:
            cursor.execute("SELECT VERSION()")
            (version,) = cursor.fetchone()
            cursor.execute(f"ANALYZE TABLE {', '.join(LARGE_TABLES)}")
            cursor.fetchall()
            cursor.execute(_OF_MARIADB, LARGE_TABLES)
        sizes = {name: int(size) for name, size in cursor.fetchall()}
    return {"version": version.partition("-")[0].partition(" ")[0], "sizes": sizes}

"""Work on another connection, and whether it waits for a lock that this test has."""

from __future__ import annotations

from concurrent.futures import Executor, Future
from typing import Any

from django.db import connection, connections

_WAITING = {
    "postgresql": "SELECT COUNT(*) FROM pg_locks "
    "WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid))",
    # Of anybody's locks: the tables that tell whose are not read anew while they are asked for.
    "mysql": "SELECT variable_value FROM information_schema.global_status "
    "WHERE variable_name = 'Innodb_row_lock_current_waits'",
}


def somebody_waits() -> bool:
    """Say whether another connection waits for what this test's transaction has locked."""
    with connection.cursor() as cursor:
        cursor.execute(_WAITING[connection.vendor])
        (number,) = cursor.fetchone()
    return int(number) > 0


def elsewhere(work: Any, *arguments: Any, **named: Any) -> Any:
    """Do work on a connection of its own, in a thread that has none."""
    try:
        return work(*arguments, **named)
    finally:
        connections.close_all()


def waiting_elsewhere(pool: Executor, work: Any, *arguments: Any) -> Future[Any]:
    """Begin work on another connection; return it once it waits for a lock, or is done."""
    begun = pool.submit(elsewhere, work, *arguments)
    while not (begun.done() or somebody_waits()):
        pass
    return begun

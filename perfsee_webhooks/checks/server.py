"""What the server of the database of the deliveries can have wrong, by its own word."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from django.conf import settings
from django.core.checks import CheckMessage, Warning  # noqa: A004  # Django's own name
from django.db import Error as DatabaseFailure
from django.db import connections, router
from django.db.backends.base.base import BaseDatabaseWrapper

from ..conf import webhook_settings
from ..models import Delivery

# A quote in a body takes two bytes in a statement, and the other columns are small.
_BESIDE_THE_BODY: Final = 1024 * 1024


def check_server(*, databases: Sequence[str] | None = None, **_kwargs: Any) -> list[CheckMessage]:
    """Ask the server of the deliveries whether it keeps the promise of a 204.

    Django runs it where a database is asked for, as `migrate` and `check --database` do.
    """
    alias = router.db_for_write(Delivery)
    connection = connections[alias]
    if alias not in (databases or ()) or connection.vendor not in _EXAMINED:
        return []
    try:
        return list(_EXAMINED[connection.vendor](connection))
    except DatabaseFailure:  # that it is away is told by whoever needs it
        return []


def _postgresql(connection: BaseDatabaseWrapper) -> Iterator[CheckMessage]:
    (waits_for_disk,) = _asked(connection, "SELECT current_setting('synchronous_commit')")
    if waits_for_disk == "off":
        yield _forgetful(connection)


def _mysql(connection: BaseDatabaseWrapper) -> Iterator[CheckMessage]:
    alias = connection.alias
    mode, packet_bytes, flush, zone = _asked(
        connection,
        "SELECT @@sql_mode, @@max_allowed_packet, @@innodb_flush_log_at_trx_commit, "
        "CONVERT_TZ('2000-01-01', 'UTC', %s)",
        settings.TIME_ZONE,
    )
    if not {"STRICT_TRANS_TABLES", "STRICT_ALL_TABLES"} & set(mode.split(",")):
        yield Warning(
            f"DATABASES[{alias!r}] has no strict mode: text that is too long for a column is cut, "
            "without an error.",
            hint="Set sql_mode to STRICT_TRANS_TABLES in the init_command of its OPTIONS.",
            id="perfsee_webhooks.W028",
        )
    if packet_bytes < 2 * webhook_settings.max_body_bytes + _BESIDE_THE_BODY:
        yield Warning(
            f"DATABASES[{alias!r}] takes no statement with a body of MAX_BODY_BYTES: such a "
            "delivery is answered 503, and lost.",
            hint="Raise max_allowed_packet on the server to 64M, or lower MAX_BODY_BYTES.",
            id="perfsee_webhooks.W029",
        )
    if flush != 1:
        yield _forgetful(connection)
    if zone is None:
        yield Warning(
            f"DATABASES[{alias!r}] does not know the time zone of TIME_ZONE: the overview in the "
            "admin cannot be shown.",
            hint="Load its time zones with mariadb-tzinfo-to-sql, or mysql_tzinfo_to_sql.",
            id="perfsee_webhooks.W030",
        )


def _forgetful(connection: BaseDatabaseWrapper) -> CheckMessage:
    return Warning(
        f"DATABASES[{connection.alias!r}] does not wait for its disk: after a crash the last "
        "deliveries are lost, although they were answered 204.",
        hint="Set synchronous_commit to on in PostgreSQL, or in MySQL and MariaDB "
        "innodb_flush_log_at_trx_commit to 1.",
        id="perfsee_webhooks.W031",
    )


def _asked(connection: BaseDatabaseWrapper, sql: str, *parameters: Any) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchone()


_EXAMINED: Final = {"postgresql": _postgresql, "mysql": _mysql}

"""A table of deliveries as large as a site has it after years, filled by the server itself.

The columns are those that the table has, so it fills the schema of any release.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, LiteralString

import psycopg
from psycopg.sql import SQL, Composed, Identifier, Literal

from perfsee_webhooks.samples import sample_body

DELIVERIES: Final = "perfsee_webhooks_delivery"
RUNS: Final = "perfsee_webhooks_receiverrun"

_BODY: Final = sample_body("bundle:finished").decode()
# Together with the sample 2 kB, a half of which no compression makes smaller.
_HASHES: Final = 7
_PLACE: Final = "feat/webhook"

_OF_A_DELIVERY: Final[Mapping[str, LiteralString]] = {
    "delivery_id": "'filled-' || n",
    "event_type": "(ARRAY['bundle:finished', 'lab:snapshot-completed'])[1 + mod(n, 2)]",
    "project": "'project-' || mod(n, 100)",
    "branch": "'branch-' || mod(n, 1000)",
    "commit_hash": "md5(n::text)",
    "summary": "'main #' || n || ' scored 57'",
    "subject": "'main on branch-' || mod(n, 1000)",
    "hook_id": "'hook-' || mod(n, 10)",
    "body_sha256": "md5(n::text) || md5((-n)::text)",
    "verified_by": "'SECRETS[0]'",
    "state": "'succeeded'",
    "attempts": "1",
    "received_at": "now() - n * interval '30 seconds'",
    "settled_at": "now() - n * interval '30 seconds'",
}
_OF_A_RUN: Final[Mapping[str, LiteralString]] = {
    "delivery_id": "n",
    "receiver": "'board.receivers.keep_score'",
    "number": "1",
    "attempt": "1",
    "trigger": "'first'",
    "outcome": "'succeeded'",
    "started_at": "now() - n * interval '30 seconds'",
}
_OF_A_TYPE: Final[Mapping[str, LiteralString]] = {
    "bigint": "0",
    "boolean": "false",
    "bytea": "''",
    "character varying": "''",
    "integer": "0",
    "interval": "interval '5 milliseconds'",
    "jsonb": "'{}'",
    "text": "''",
    "timestamp with time zone": "now()",
}
_COLUMNS: Final = """
    SELECT column_name, data_type FROM information_schema.columns
    WHERE table_name = %s AND is_identity = 'NO' AND (is_nullable = 'NO' OR column_name = ANY(%s))
"""

_BY_DJANGO: Final = """
import os
from django.utils import timezone
for first in range(0, {rows}, 1000):
    Delivery.objects.bulk_create(
        Delivery(delivery_id=f"filled-{{n}}", event_type="bundle:finished",
                 project=f"project-{{n % 100}}", branch=f"branch-{{n % 1000}}", commit_hash=str(n),
                 body=os.urandom(2000), body_sha256=str(n), verified_by="SECRETS[0]",
                 state="succeeded", received_at=timezone.now(), settled_at=timezone.now())
        for n in range(first, min(first + 1000, {rows}))
    )
"""


def fill(url: str, rows: int) -> None:
    """Store that many deliveries, each with one run of a receiver, and leave the server at rest."""
    with psycopg.connect(url, autocommit=True) as database:
        hashes = SQL(
            "(SELECT string_agg(encode(sha512(int8send(n * 31 + m)), 'hex'), '')"
            " FROM generate_series(1, {}) AS m)"
        ).format(_HASHES)
        body = SQL("convert_to(replace({}, {}, {}), 'UTF8')").format(_BODY, _PLACE, hashes)
        numbers = SQL("generate_series(1, {}) AS n").format(rows)
        deliveries = {**_as_sql(_OF_A_DELIVERY), "body": body}
        database.execute(_insert(database, DELIVERIES, deliveries, numbers))
        stored = SQL("(SELECT id AS n FROM {}) AS deliveries").format(Identifier(DELIVERIES))
        database.execute(_insert(database, RUNS, _as_sql(_OF_A_RUN), stored))
        database.execute("VACUUM ANALYZE")
        database.execute("CHECKPOINT")


def fill_by_django(rows: int) -> str:
    """Return what stores that many deliveries in a site's shell, on any database."""
    return _BY_DJANGO.format(rows=rows)


def store(url: str, delivery_id: str, body: bytes) -> bool:
    """Store one delivery as the release of this schema does: with the columns that it knows."""
    values: Mapping[str, Any] = {
        **_as_sql(_OF_A_DELIVERY),
        "delivery_id": Literal(delivery_id),
        "body": Literal(body),
    }
    with psycopg.connect(url) as database:
        database.execute(_insert(database, DELIVERIES, values, SQL("(SELECT 0 AS n) AS one")))
    return True


def _as_sql(values: Mapping[str, LiteralString]) -> dict[str, SQL]:
    return {name: SQL(value) for name, value in values.items()}


def _insert(
    database: psycopg.Connection, table: str, values: Mapping[str, Any], source: SQL | Composed
) -> Composed:
    columns = database.execute(_COLUMNS, (table, list(values))).fetchall()
    return SQL("INSERT INTO {} ({}) SELECT {} FROM {}").format(
        Identifier(table),
        SQL(", ").join(Identifier(name) for name, _type in columns),
        SQL(", ").join(values.get(name) or SQL(_OF_A_TYPE[type_]) for name, type_ in columns),
        source,
    )

"""What the database of the deliveries can have wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning  # noqa: A004  # Django's own name
from django.db import connections, router

from ..conf import webhook_settings
from ..models import Delivery


def check_database(**_kwargs: Any) -> list[CheckMessage]:
    """Check that the database of the deliveries keeps the promise of a 204."""
    alias = router.db_for_write(Delivery)
    connection = connections[alias]
    options = connection.settings_dict["OPTIONS"]
    messages: list[CheckMessage] = []
    if not connection.settings_dict["AUTOCOMMIT"]:
        messages.append(
            Error(
                f"DATABASES[{alias!r}] has AUTOCOMMIT off, so that no delivery would be committed.",
                hint="Remove AUTOCOMMIT, or route the deliveries to another database.",
                id="perfsee_webhooks.E008",
            )
        )
    if (
        connection.settings_dict["CONN_MAX_AGE"] != 0
        and not connection.settings_dict["CONN_HEALTH_CHECKS"]
        and not webhook_settings.database_wait
    ):
        messages.append(
            Warning(
                f"DATABASES[{alias!r}] keeps connections without looking whether they still work: "
                "after each restart of the database a delivery is answered 503, and lost.",
                hint="Set CONN_HEALTH_CHECKS to True, or DATABASE_WAIT above zero.",
                id="perfsee_webhooks.W009",
            )
        )
    if getattr(settings, "ASGI_APPLICATION", None) and connection.settings_dict["CONN_MAX_AGE"]:
        messages.append(
            Warning(
                f"DATABASES[{alias!r}] keeps connections under ASGI, where each request has a "
                "thread of its own: they add up until the database takes no more.",
                hint='Set CONN_MAX_AGE to 0, and on PostgreSQL OPTIONS to {"pool": True}.',
                id="perfsee_webhooks.W026",
            )
        )
    if connection.vendor == "sqlite":
        messages.extend(_sqlite(alias, options))
    if connection.vendor == "mysql":
        messages.extend(_mysql(alias, options))
    return messages


def _mysql(alias: str, options: Mapping[str, Any]) -> Iterator[CheckMessage]:
    if str(options.get("charset", "utf8mb4")).lower() != "utf8mb4":
        yield Warning(
            f"DATABASES[{alias!r}] cannot take every letter: a delivery with an emoji is answered "
            "503, and lost.",
            hint='Set charset of its OPTIONS to "utf8mb4", which is the default.',
            id="perfsee_webhooks.W027",
        )


def _sqlite(alias: str, options: Mapping[str, Any]) -> Iterator[CheckMessage]:
    pragmas = str(options.get("init_command", "")).lower().replace(" ", "")
    is_immediate = str(options.get("transaction_mode")).upper() == "IMMEDIATE"
    if not is_immediate or "journal_mode=wal" not in pragmas:
        yield Warning(
            f"DATABASES[{alias!r}] is SQLite without WAL or without IMMEDIATE transactions: "
            "receivers that run at once will fail with 'database is locked'.",
            hint="Set OPTIONS to SQLITE_OPTIONS of perfsee_webhooks.conf.",
            id="perfsee_webhooks.W004",
        )
    if re.search(r"synchronous=(normal|off|0|1)\b", pragmas):
        yield Warning(
            f"DATABASES[{alias!r}] is SQLite that does not wait for the disk: when the power fails "
            "the last deliveries are lost, although they were answered 204.",
            hint="Set PRAGMA synchronous = FULL, as SQLITE_OPTIONS of perfsee_webhooks.conf does.",
            id="perfsee_webhooks.W007",
        )

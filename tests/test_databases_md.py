from __future__ import annotations

from typing import Any

import pytest
from django.db import connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from perfsee_webhooks.conf import DEFAULTS

from .documents import DOCS, blocks_of

PAGE = DOCS / "databases.md"

pytestmark = pytest.mark.django_db


def shown(engine: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return the database of the page's settings for an engine."""
    monkeypatch.setenv("DATABASE_PASSWORD", "")
    for block in blocks_of(PAGE, "python"):
        settings: dict[str, Any] = {"DATABASES": {"default": {"ENGINE": "", "OPTIONS": {}}}}
        exec(block.code, settings)  # noqa: S102  # the page's own
        database: dict[str, Any] = settings["DATABASES"]["default"]
        if database["ENGINE"] == engine:
            return database
    pytest.skip("the settings page has the options of this database")


def test_settings__connect_to_the_database_that_they_are_for(monkeypatch):
    database = shown(connection.settings_dict["ENGINE"], monkeypatch)
    assert database["CONN_HEALTH_CHECKS"]
    kind: type[BaseDatabaseWrapper] = type(connections["default"])
    given = connection.settings_dict
    told = {**given, "OPTIONS": given["OPTIONS"] | database["OPTIONS"]}
    other = kind(told, alias="other")
    try:
        with other.cursor() as cursor:
            if connection.vendor != "mysql":
                return
            cursor.execute("SELECT @@sql_mode, @@tx_isolation, @@innodb_lock_wait_timeout")
            assert cursor.fetchone() == ("STRICT_TRANS_TABLES", "READ-COMMITTED", 10)
    finally:
        other.close()


def test_server__takes_the_largest_body_with_each_byte_written_as_two():
    (block,) = blocks_of(PAGE, "ini")
    (megabytes,) = (
        int(line.removesuffix("M").rpartition("=")[2])
        for line in block.code.splitlines()
        if line.startswith("max_allowed_packet")
    )
    assert megabytes * 1024**2 > 2 * DEFAULTS["MAX_BODY_BYTES"] + 1024**2

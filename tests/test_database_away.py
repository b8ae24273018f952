"""The database is killed and started again under load: nothing is lost, and nothing refused."""

from __future__ import annotations

import pytest
from django.db import connection

from .mariadb import PrivateMariaDB
from .postgresql import PrivatePostgreSQL

pytestmark = [pytest.mark.kill, pytest.mark.once]


def test_database_away__loses_and_refuses_nothing():
    from proof import database_away

    kind = PrivateMariaDB if connection.vendor == "mysql" else PrivatePostgreSQL
    (row,) = database_away.run(kind)
    print(row)
    assert row.tried > 100
    assert (row.lost, row.wrong) == (0, 0), row.note
    assert not row.note.startswith("0 by way of the disk")

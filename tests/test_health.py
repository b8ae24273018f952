import sys
from datetime import timedelta
from importlib import import_module

import pytest
import time_machine
from django.db import connection, connections
from django.urls import path
from health_check.views import HealthCheckView  # type: ignore[import-untyped]  # has no types

from perfsee_webhooks.health import PerfseeWebhooks
from perfsee_webhooks.models import Heartbeat

from .figures import came, moment

NOW = moment("2026-11-24T12:00")
MINUTE = timedelta(minutes=1)
CHECK = "perfsee_webhooks.health.PerfseeWebhooks"

# What a site puts in its URLs.
urlpatterns = [
    path("health/", HealthCheckView.as_view(checks=[CHECK])),
    path(
        "strict/",
        HealthCheckView.as_view(
            checks=[(CHECK, {"max_wait": timedelta(seconds=30), "max_dead": 0})]
        ),
    ),
    path("replica/", HealthCheckView.as_view(checks=[(CHECK, {"using": "replica"})])),
]

# The view runs the check in a thread, with a connection of its own.
pytestmark = [pytest.mark.urls(__name__), pytest.mark.django_db(transaction=True)]


@pytest.fixture
def ask(client):
    def get(address):
        with time_machine.travel(NOW, tick=False):
            answer = client.get(address, {"format": "json"})
        [(check, said)] = answer.json().items()
        assert check.startswith("PerfseeWebhooks(")
        return answer.status_code, said

    return get


def swept(minutes_ago=0):
    Heartbeat.objects.create(name="sweep", beat_at=NOW - minutes_ago * MINUTE)


@pytest.mark.parametrize("address", ["/health/", "/strict/"])
def test_health__nothing_to_tell(ask, address):
    came(NOW)
    assert ask(address) == (200, "OK")


def test_health__one_that_waits_for_too_long(ask):
    swept()
    came(NOW, "received", next_attempt_at=NOW - 15 * MINUTE, handed_over_at=NOW)
    assert ask("/health/") == (200, "OK")
    assert ask("/strict/") == (500, "Unavailable: A delivery has been due for 900 seconds.")
    came(NOW, "received", next_attempt_at=NOW - 16 * MINUTE, handed_over_at=NOW)
    assert ask("/health/") == (500, "Unavailable: A delivery has been due for 960 seconds.")


def test_health__one_that_is_not_due_yet(ask):
    swept()
    came(NOW - timedelta(days=1), "failed", next_attempt_at=NOW + MINUTE)
    assert ask("/strict/") == (200, "OK")


def test_health__dead_ones_are_told_where_a_site_asks_for_it(ask):
    came(NOW, "dead")
    assert ask("/health/") == (200, "OK")
    assert ask("/strict/") == (500, "Warning: 1 dead, which is more than 0.")


def test_health__no_sweep(ask, webhook_setting):
    webhook_setting(LEASE=5 * MINUTE)
    swept(6)
    assert ask("/health/") == (200, "OK")
    came(NOW, "failed", next_attempt_at=NOW + MINUTE)
    assert ask("/health/") == (500, "Unavailable: Deliveries wait for a sweep, and none runs.")


@pytest.fixture
def _table_is_away():
    table = Heartbeat._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} RENAME TO away")
        yield
        cursor.execute(f"ALTER TABLE away RENAME TO {table}")


@pytest.mark.usefixtures("_table_is_away")
def test_health__no_table(ask):
    assert ask("/health/") == (500, "Unavailable: The tables of the deliveries cannot be read.")


def test_health__asks_the_database_that_it_is_told(ask):
    # The package answers for what it does not expect, and logs it.
    assert ask("/replica/") == (500, "Unknown Error: unknown error")


def test_health__leaves_no_connection_open():
    connections.close_all()
    PerfseeWebhooks().run()
    assert connections["default"].connection is None


def test_health__without_its_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "health_check.base", None)
    monkeypatch.delitem(sys.modules, "perfsee_webhooks.health")
    with pytest.raises(ImportError, match=r"pip install 'django-perfsee-webhooks\[health\]'"):
        import_module("perfsee_webhooks.health")

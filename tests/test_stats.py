from dataclasses import replace
from datetime import timedelta

import pytest
import time_machine
from django.db import DatabaseError, connection
from django.test.utils import CaptureQueriesContext
from django.utils.connection import ConnectionDoesNotExist

from perfsee_webhooks import replay, stats
from perfsee_webhooks.models import Delivery, Heartbeat, Rejection, Replay
from perfsee_webhooks.stats import Stats

from .figures import came, moment, refused

NOW = moment("2026-11-24T12:00")
MINUTE = timedelta(minutes=1)

NOTHING = Stats(
    measured_at=NOW,
    received=0,
    processing=0,
    failed=0,
    dead=0,
    due=0,
    overdue=0,
    longest_wait=None,
    last_received_at=None,
    last_swept_at=None,
    is_sweep_missed=False,
    refused_last_hour=0,
    replays_running=0,
    replays_stalled=0,
)


@pytest.fixture(autouse=True)
def _now(db):
    with time_machine.travel(NOW, tick=False):
        yield


def test_stats__of_an_empty_database():
    assert stats.stats() == NOTHING


def test_stats__count_what_is_not_done_with(webhook_setting):
    webhook_setting(LEASE=5 * MINUTE)
    came(NOW - 90 * MINUTE)
    came(NOW - 80 * MINUTE, "unhandled")
    came(NOW - 70 * MINUTE, "dead")
    came(NOW - 60 * MINUTE, "failed", next_attempt_at=NOW + MINUTE)
    came(NOW - 50 * MINUTE, "failed", next_attempt_at=NOW - MINUTE, handed_over_at=NOW)
    came(NOW - 40 * MINUTE, "failed", next_attempt_at=NOW - 3 * MINUTE)
    came(NOW - 30 * MINUTE, "processing", lease_expires_at=NOW + MINUTE)
    came(NOW - 20 * MINUTE, "processing", lease_expires_at=NOW - MINUTE)
    came(NOW - MINUTE, "received", next_attempt_at=NOW - 2 * MINUTE, handed_over_at=NOW)
    found = stats.stats()
    assert found == replace(
        NOTHING,
        received=1,
        processing=2,
        failed=3,
        dead=1,
        due=3,
        overdue=2,
        longest_wait=3 * MINUTE,
        last_received_at=NOW - MINUTE,
        is_sweep_missed=True,
    )
    assert found.waiting == 4
    assert found.overdue == Delivery.objects.overdue(NOW, grace=5 * MINUTE).count()
    assert found.due == Delivery.objects.waiting(NOW).count()


def test_stats__one_that_is_replayed_waits_since_its_replay():
    came(NOW - timedelta(days=90), "received", next_attempt_at=NOW - MINUTE)
    assert stats.stats().longest_wait == MINUTE


def test_stats__one_from_a_clock_that_is_ahead_does_not_wait_for_less_than_nothing():
    came(NOW + MINUTE, "received", next_attempt_at=NOW + MINUTE)
    assert stats.stats().longest_wait == timedelta(0)


@pytest.mark.parametrize(
    ("state", "minutes_since", "is_missed"),
    [
        ("received", None, True),
        ("failed", None, True),
        ("failed", 6, True),
        ("failed", 5, False),
        ("dead", None, False),
        ("succeeded", 600, False),
    ],
)
def test_stats__tell_of_a_sweep_that_is_missed(webhook_setting, state, minutes_since, is_missed):
    webhook_setting(LEASE=5 * MINUTE)
    came(NOW, state)
    swept_at = None if minutes_since is None else NOW - minutes_since * MINUTE
    if swept_at:
        Heartbeat.objects.create(name="sweep", beat_at=swept_at)
    found = stats.stats()
    assert (found.last_swept_at, found.is_sweep_missed) == (swept_at, is_missed)


def test_stats__count_what_was_refused_within_the_hour():
    refused(NOW - 61 * MINUTE, not_kept=1000)
    refused(NOW - 60 * MINUTE)
    refused(NOW - MINUTE, not_kept=20)
    refused(NOW - MINUTE, accepted_at=NOW)
    assert stats.stats().refused_last_hour == 22


def test_stats__count_replays_that_run_and_those_that_nobody_is_at_work_on():
    made = [
        Replay.objects.create(requested_by="a", state=state, next_batch_at=at)
        for state, at in [
            ("running", NOW),
            ("running", NOW),
            ("running", NOW),
            ("running", NOW + MINUTE),
            ("paused", NOW),
            ("finished", NOW),
        ]
    ]
    came(NOW, "received", replay=made[0])
    found = stats.stats()
    assert (found.replays_running, found.replays_stalled) == (4, 2)
    assert [replay.is_stalled(item) for item in made] == [
        *(False, True, True),
        *(False, False, False),
    ]


def test_stats__count_no_further_than_they_say(monkeypatch):
    monkeypatch.setattr(stats, "MAX_COUNTED", 2)
    for state in ("received", "failed", "dead"):
        for _number in range(3):
            came(NOW, state, next_attempt_at=NOW)
            refused(NOW, not_kept=7)
    found = stats.stats()
    assert (found.received, found.failed, found.dead, found.due, found.overdue) == (2, 2, 2, 2, 2)
    assert found.refused_last_hour == 2


def plan_of(statement):
    explain = "EXPLAIN QUERY PLAN " if connection.vendor == "sqlite" else "EXPLAIN "
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            # A table of a few rows is read quicker than its index, a large one is not.
            cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(explain + statement)
        return "\n".join(str(row[-1]) for row in cursor.fetchall())


@pytest.mark.parametrize("rows", [0, 50])
def test_stats__make_ten_statements_each_by_an_index(rows):
    states = ("succeeded", "unhandled", "dead", "failed", "received", "processing")
    Delivery.objects.bulk_create(
        Delivery(
            delivery_id=f"{state} {number}",
            state=state,
            received_at=NOW,
            lease_token="0" * 32 if state == "processing" else None,
        )
        for state in states
        for number in range(rows)
    )
    with CaptureQueriesContext(connection) as captured:
        stats.stats()
    assert len(captured) == 10
    if connection.vendor == "mysql":
        pytest.skip("MySQL and MariaDB cannot be told to take an index for a table of a few rows")
    for query in captured.captured_queries:
        plan = plan_of(query["sql"])
        assert "perfsee_" in plan, query["sql"]
        assert "Seq Scan" not in plan
        assert not [
            line
            for line in plan.splitlines()
            if line.startswith("SCAN perfsee_") and "USING" not in line
        ], query["sql"]


def test_stats__load_no_body():
    with CaptureQueriesContext(connection) as captured:
        stats.stats()
    assert not [query for query in captured.captured_queries if '"body"' in query["sql"]]


@pytest.mark.django_db(transaction=True)
def test_stats__leave_a_connection_as_they_found_it():
    connection.close()
    stats.stats()
    assert connection.connection is None
    connection.ensure_connection()
    stats.stats()
    assert connection.connection is not None


def test_stats__ask_the_database_that_they_are_told():
    with pytest.raises(ConnectionDoesNotExist, match="replica"):
        stats.stats("replica")


def test_stats__raise_where_a_table_is_away(take_away):
    take_away(Rejection)
    with pytest.raises(DatabaseError):
        stats.stats()

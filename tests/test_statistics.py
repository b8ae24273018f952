from datetime import timedelta

import pytest
from django.utils import timezone

from perfsee_webhooks.models import Delivery, Heartbeat, Replay
from perfsee_webhooks.overview import statistics

from .figures import came, moment, ran, refused

pytestmark = pytest.mark.django_db

NOW = moment("2026-11-24T12:00")
MINUTE = timedelta(minutes=1)


def milliseconds(*numbers):
    return [timedelta(milliseconds=number) for number in numbers]


# What waits


def test_standing__counts_what_has_not_succeeded():
    came(NOW)
    for minutes in (30, 10, 20):
        came(NOW - minutes * MINUTE, "failed", next_attempt_at=NOW + minutes * MINUTE)
    came(NOW - MINUTE, "received", next_attempt_at=NOW - MINUTE, handed_over_at=NOW)
    came(NOW - 2 * MINUTE, "processing", lease_expires_at=NOW + MINUTE)
    came(NOW - 90 * MINUTE, "dead")
    found = statistics.standing(NOW)
    assert {state: item.number for state, item in found.items()} == {
        "received": 1,
        "processing": 1,
        "failed": 3,
        "dead": 1,
        "unhandled": 0,
    }
    assert found["failed"].oldest_received_at == NOW - 30 * MINUTE
    assert found["failed"].first_due_at == NOW + 10 * MINUTE
    assert found["received"].first_due_at == NOW - MINUTE
    assert found["dead"].oldest_received_at == NOW - 90 * MINUTE
    assert found["dead"].first_due_at is None
    assert found["unhandled"].oldest_received_at is None
    assert found["unhandled"].state.label == "Unhandled"
    assert {item.overdue for item in found.values()} == {0}


def test_standing__counts_what_is_overdue(webhook_setting):
    webhook_setting(LEASE=5 * MINUTE)
    came(NOW, "received", handed_over_at=NOW - 6 * MINUTE)
    came(NOW, "received", handed_over_at=None)
    came(NOW, "received", handed_over_at=NOW - 4 * MINUTE)
    came(NOW, "failed", next_attempt_at=NOW - MINUTE)
    came(NOW, "failed", next_attempt_at=NOW + MINUTE)
    came(NOW, "processing", lease_expires_at=NOW - MINUTE)
    came(NOW, "processing", lease_expires_at=NOW + MINUTE)
    came(NOW, "dead")
    found = statistics.standing(NOW)
    overdue = {state: item.overdue for state, item in found.items() if item.overdue}
    assert overdue == {"received": 2, "failed": 1, "processing": 1}
    assert sum(overdue.values()) == Delivery.objects.overdue(NOW, grace=5 * MINUTE).count()


@pytest.mark.parametrize(
    ("state", "minutes_since", "is_missed"),
    [
        ("received", None, True),
        ("failed", None, True),
        ("failed", 6, True),
        ("failed", 5, False),
        ("failed", 1, False),
        ("succeeded", None, False),
        ("succeeded", 600, False),
        ("dead", 600, False),
    ],
)
def test_sweep__is_missed_where_deliveries_wait(webhook_setting, state, minutes_since, is_missed):
    webhook_setting(LEASE=5 * MINUTE)
    came(NOW, state)
    Heartbeat.objects.create(name="something else", beat_at=NOW)
    beat_at = None if minutes_since is None else NOW - minutes_since * MINUTE
    if beat_at:
        Heartbeat.objects.create(name="sweep", beat_at=beat_at)
    life = statistics.sweep_life(statistics.standing(NOW), NOW)
    assert (life.beat_at, life.is_missed) == (beat_at, is_missed)


def test_replays__are_those_that_are_not_over(monkeypatch):
    made = {
        state: Replay.objects.create(requested_by="a", state=state)
        for state in ("running", "paused", "finished", "cancelled")
    }
    assert set(statistics.open_replays()) == {made["running"], made["paused"]}
    monkeypatch.setattr(statistics, "MAX_REPLAYS", 1)
    assert statistics.open_replays() == [made["paused"]]


# Refused requests


def test_refusals__are_counted_by_reason():
    since = NOW - timedelta(days=1)
    refused(since - MINUTE)
    refused(since)
    for number in range(3):
        refused(NOW, "malformed", not_kept=number)
    refused(NOW, "unheard_of", not_kept=10)
    found = [
        (item.reason, item.label, item.kept, item.not_kept) for item in statistics.refusals(since)
    ]
    assert found == [
        ("unheard_of", "unheard_of", 1, 10),
        ("malformed", "Malformed request", 3, 3),
        ("wrong_signature", "Wrong signature", 1, 0),
    ]


# How long receivers take


def test_receivers__quantiles_of_their_runs():
    delivery = came(NOW)
    for number, duration in enumerate(milliseconds(*range(100, -1, -1))):
        ran(delivery, "tests.quick", duration=duration, outcome=["succeeded", "failed"][number < 5])
    ran(delivery, "tests.slow", duration=timedelta(seconds=3))
    slow, quick = statistics.receivers()
    assert (quick.receiver, quick.runs, quick.failed) == ("tests.quick", 101, 5)
    assert [quick.p50, quick.p95] == milliseconds(50, 95)
    assert quick.failed_percent == pytest.approx(4.95, abs=0.01)
    assert (slow.receiver, slow.runs, slow.failed) == ("tests.slow", 1, 0)
    assert [slow.p50, slow.p95] == milliseconds(3000, 3000)


def test_receivers__quantiles_lie_between_two_runs():
    delivery = came(NOW)
    for duration in milliseconds(10, 20):
        ran(delivery, duration=duration)
    (times,) = statistics.receivers()
    assert [times.p50, times.p95] == milliseconds(15, 19.5)


def test_receivers__nobody_knows_how_long_a_lost_run_took():
    delivery = came(NOW)
    ran(delivery, "tests.partly", duration=timedelta(hours=1), outcome="lost")
    ran(delivery, "tests.partly", duration=timedelta(seconds=1))
    ran(delivery, "tests.always", duration=timedelta(hours=1), outcome="lost")
    always, partly = statistics.receivers()
    assert (always.receiver, always.runs, always.failed) == ("tests.always", 1, 1)
    assert always.p50 is always.p95 is None
    assert (partly.runs, partly.failed, partly.p95) == (2, 1, timedelta(seconds=1))


def test_receivers__only_the_latest_runs_count(monkeypatch):
    monkeypatch.setattr(statistics, "LATEST_RUNS", 2)
    delivery = came(NOW)
    for duration in milliseconds(1000, 10, 10):
        ran(delivery, duration=duration)
    (times,) = statistics.receivers()
    assert (times.runs, times.p95) == (2, timedelta(milliseconds=10))


def test_figures__of_an_empty_database(django_assert_num_queries):
    now = timezone.now()
    with django_assert_num_queries(6):
        standings = statistics.standing(now)
        assert not any(item.number for item in standings.values())
        life = statistics.sweep_life(standings, now)
        assert (life.beat_at, life.is_missed) == (None, False)
        assert statistics.open_replays() == []
        assert statistics.refusals(now) == []
        assert statistics.receivers() == []

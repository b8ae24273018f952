from __future__ import annotations

import time
from datetime import timedelta

import pytest
from django.db import IntegrityError, InterfaceError, InternalError, OperationalError

from perfsee_webhooks import outage
from perfsee_webhooks.outage import Outage, patiently

pytestmark = pytest.mark.django_db

WAIT = timedelta(seconds=5)


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """A clock that only a pause moves on, and an outage of this test alone."""
    moments = [100.0]

    def sleep(seconds):
        moments[0] += seconds

    monkeypatch.setattr(time, "monotonic", lambda: moments[0])
    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(outage, "_outage", Outage())
    return moments


def failing(*errors):
    """Return work that raises these errors one after the other, and then succeeds."""
    left = list(errors)

    def work():
        if left:
            raise left.pop(0)
        return "done"

    return work


@pytest.mark.parametrize("error", [OperationalError, InterfaceError, InternalError])
def test_patiently__goes_on_until_the_database_is_back(error, clock):
    assert patiently(failing(*[error("away")] * 20), using="default", wait=WAIT) == "done"
    assert clock[0] == pytest.approx(102)


def test_patiently__raises_once_the_wait_is_over(clock):
    with pytest.raises(OperationalError):
        patiently(failing(*[OperationalError("away")] * 1000), using="default", wait=WAIT)
    assert clock[0] == pytest.approx(105, abs=0.2)


def test_patiently__without_a_wait_tries_once(clock):
    with pytest.raises(OperationalError):
        patiently(failing(OperationalError("away")), using="default", wait=timedelta(0))
    assert clock[0] == 100


def test_patiently__does_not_wait_for_what_no_waiting_mends(clock):
    with pytest.raises(IntegrityError):
        patiently(failing(IntegrityError("a rule")), using="default", wait=WAIT)
    assert clock[0] == 100


def test_patiently__all_wait_together_once(clock):
    away = OperationalError("away")
    with pytest.raises(OperationalError):
        patiently(failing(*[away] * 1000), using="default", wait=WAIT)
    was = clock[0]
    for _ in range(10):
        with pytest.raises(OperationalError):
            patiently(failing(away, away), using="default", wait=WAIT)
    assert clock[0] == was


def test_patiently__waits_anew_for_the_next_outage(clock):
    away = OperationalError("away")
    with pytest.raises(OperationalError):
        patiently(failing(*[away] * 1000), using="default", wait=WAIT)
    assert patiently(failing(), using="default", wait=WAIT) == "done"
    assert patiently(failing(*[away] * 10), using="default", wait=WAIT) == "done"


def test_patiently__forgets_an_outage_that_nobody_saw_end(clock):
    away = OperationalError("away")
    with pytest.raises(OperationalError):
        patiently(failing(*[away] * 1000), using="default", wait=WAIT)
    clock[0] += 3600
    assert patiently(failing(*[away] * 10), using="default", wait=WAIT) == "done"


def test_patiently__gives_up_where_one_attempt_takes_longer_than_the_wait(clock):
    def slow():
        clock[0] += 25
        raise OperationalError("database is locked")

    for _ in range(3):
        was = clock[0]
        with pytest.raises(OperationalError):
            patiently(slow, using="default", wait=WAIT)
        assert clock[0] - was == pytest.approx(25, abs=0.2)

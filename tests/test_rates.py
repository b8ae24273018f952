from __future__ import annotations

import threading
import time

import pytest

from perfsee_webhooks.rates import Rate, Recent


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def rate(clock) -> Rate:
    return Rate(burst=3, per_second=2, clock=clock)


class Yielding(float):
    """A zero that lets another thread go on just when it is added to something."""

    def __rmul__(self, other: float) -> Yielding:
        return self

    def __radd__(self, other: float) -> float:
        time.sleep(0)
        return other


def allowed(rate: Rate, times: int) -> int:
    return sum(rate.take_turn().is_allowed for _ in range(times))


def test_take_turn__allows_a_burst_and_then_so_many_a_second(rate, clock):
    assert allowed(rate, 10) == 3
    clock.now += 0.4
    assert allowed(rate, 10) == 0
    clock.now += 0.1
    assert allowed(rate, 10) == 1
    clock.now += 1
    assert allowed(rate, 10) == 2


def test_take_turn__gathers_no_more_than_a_burst(rate, clock):
    clock.now += 1_000_000
    assert allowed(rate, 10) == 3


def test_take_turn__says_how_often_it_was_refused_since_the_last_time(rate, clock):
    assert [rate.take_turn().refusals for _ in range(3)] == [0, 0, 0]
    assert allowed(rate, 5) == 0
    clock.now += 1
    assert [rate.take_turn().refusals for _ in range(2)] == [5, 0]


def test_take_turn__says_once_in_a_rush_that_it_refuses(rate, clock):
    def told(times: int) -> int:
        return sum(rate.take_turn().is_first_refusal for _ in range(times))

    assert told(10) == 1
    for _ in range(20):
        clock.now += 0.6  # now and then one is allowed, but never all of a burst
        assert told(3) == 0
    clock.now += 1.5
    assert told(10) == 1


def test_count__gives_refusals_to_the_next_turn(rate):
    rate.count(4)
    assert rate.take_turn().refusals == 4


def test_reset__begins_anew(rate):
    allowed(rate, 10)
    rate.reset()
    turns = [rate.take_turn() for _ in range(4)]
    assert [turn.is_allowed for turn in turns] == [True, True, True, False]
    assert [turn.refusals for turn in turns[:3]] == [0, 0, 0]
    assert turns[3].is_first_refusal


def test_take_turn__counts_each_of_many_threads():
    rate = Rate(burst=100, per_second=Yielding(0))
    turns = []

    def take() -> None:
        turns.extend([rate.take_turn() for _ in range(500)])

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(turn.is_allowed for turn in turns) == 100
    assert sum(turn.is_first_refusal for turn in turns) == 1
    assert max(turn.refusals for turn in turns) == 3900


def test_recent__remembers_the_newest():
    recent = Recent(size=2)
    for thing in ("a", "b", "a", "c"):
        recent.note(thing)
    assert [thing in recent for thing in "abc"] == [True, False, True]
    recent.reset()
    assert "a" not in recent

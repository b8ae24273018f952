from datetime import timedelta

import pytest

from perfsee_webhooks.templatetags.perfsee_times import ago, in_words, milliseconds

from .figures import moment

NOW = moment("2026-11-24T12:00")


@pytest.mark.parametrize(
    ("duration", "words"),
    [
        (timedelta(seconds=-5), "0 seconds"),
        (timedelta(0), "0 seconds"),
        (timedelta(seconds=1.9), "1 second"),
        (timedelta(seconds=119), "119 seconds"),
        (timedelta(seconds=120), "2 minutes"),
        (timedelta(minutes=119), "119 minutes"),
        (timedelta(hours=2), "2 hours"),
        (timedelta(hours=47, minutes=59), "47 hours"),
        (timedelta(days=2), "2 days"),
        (timedelta(days=400), "400 days"),
    ],
)
def test_in_words__has_one_number(duration, words):
    assert in_words(duration) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "just now"), (-0.5, "just now"), (90, "90 seconds ago"), (-7200, "in 2 hours")],
)
def test_ago__looks_both_ways(seconds, words):
    assert ago(NOW - timedelta(seconds=seconds), NOW) == words


def test_milliseconds__of_a_duration():
    assert milliseconds(timedelta(seconds=1.5)) == 1500

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from django.utils import timezone

from perfsee_webhooks.overview import buckets
from perfsee_webhooks.overview.buckets import Bucket, FailureRate
from perfsee_webhooks.overview.rhythms import Arrivals

from .figures import came, moment

pytestmark = pytest.mark.django_db

NOW = moment("2026-11-24T12:34:56")


def counted(of_unit, written):
    """The buckets that are not empty, by what their start looks like."""
    return {f"{bucket.start:{written}}": dict(bucket.counts) for bucket in of_unit if bucket.counts}


def hours(now=NOW):
    return buckets.hours(now)


def days(now=NOW):
    return buckets.days(buckets.arrivals(now), now)


def test_hours__are_the_last_24_and_counted_by_state():
    came("2026-11-23T12:59:59.999999")  # too early
    came("2026-11-23T13:00:00")
    came("2026-11-24T11:59:59.999999", "dead")
    came("2026-11-24T12:00:00")
    came("2026-11-24T12:00:01")
    came("2026-11-24T12:30:00", "failed")
    came("2026-11-24T13:00:00")  # of a clock that is ahead
    assert len(hours()) == 24
    assert hours()[0].start == moment("2026-11-23T13:00")
    assert hours()[-1].end == moment("2026-11-24T13:00")
    assert all(earlier.end == later.start for earlier, later in pairwise(hours()))
    assert counted(hours(), "%d %H:%M") == {
        "23 13:00": {"succeeded": 1},
        "24 11:00": {"dead": 1},
        "24 12:00": {"succeeded": 2, "failed": 1},
    }


def test_hours__on_the_hour_itself_belong_to_the_one_that_begins():
    assert hours(moment("2026-11-24T12:00"))[-1].start == moment("2026-11-24T12:00")


@pytest.mark.parametrize(
    ("zone", "start", "number"),
    [
        ("Asia/Kolkata", "11:30", 2),
        ("Asia/Shanghai", "12:00", 1),
        ("America/St_Johns", "11:30", 2),
    ],
)
def test_hours__begin_with_the_hours_of_the_zone(zone, start, number):
    came("2026-11-24T11:50")
    came("2026-11-24T12:10")
    with timezone.override(zone):
        newest = hours(moment("2026-11-24T12:20"))[-1]
    assert (newest.start.tzinfo, newest.start.minute) == (ZoneInfo(zone), 0)
    assert newest.start == moment(f"2026-11-24T{start}")
    assert newest.counts == {"succeeded": number}


def test_hours__that_the_clocks_repeat_are_two():
    # At 03:00 in Berlin it is 02:00 once more: 00:30 and 01:30 in UTC are both 02:30.
    came("2026-10-25T00:30")
    came("2026-10-25T01:30", "dead")
    with timezone.override("Europe/Berlin"):
        found = hours(moment("2026-10-25T11:00"))
    assert len(found) == 24
    assert len({bucket.start.astimezone(UTC) for bucket in found}) == 24
    assert counted(found, "%H:%M %Z") == {
        "02:00 CEST": {"succeeded": 1},
        "02:00 CET": {"dead": 1},
    }


def test_hours__that_the_clocks_leave_out_are_not_there():
    # At 02:00 in Berlin it is 03:00: 00:30 in UTC is 01:30, 01:30 is 03:30.
    came("2026-03-29T00:30")
    came("2026-03-29T01:30", "dead")
    with timezone.override("Europe/Berlin"):
        found = hours(moment("2026-03-29T11:00"))
    assert counted(found, "%H:%M %Z") == {
        "01:00 CET": {"succeeded": 1},
        "03:00 CEST": {"dead": 1},
    }
    assert "02:00" not in {f"{bucket.start:%H:%M}" for bucket in found}


def test_days__are_the_last_30_and_counted_by_state():
    came("2026-10-25T23:59:59.999999")  # too early
    came("2026-10-26T00:00")
    came("2026-11-23T23:59:59.999999", "dead")
    came("2026-11-24T00:00")
    came("2026-11-24T23:59", "failed")  # of a clock that is ahead
    came("2026-11-25T00:00")
    assert len(days()) == 30
    assert days()[-1].start == moment("2026-11-24T00:00")
    assert counted(days(), "%m-%d") == {
        "10-26": {"succeeded": 1},
        "11-23": {"dead": 1},
        "11-24": {"succeeded": 1, "failed": 1},
    }


@pytest.mark.parametrize(
    ("most", "number"),
    [(1, 2), (2, 2), (3, 2), (4, 2), (5, 3), (6, 23), (7, 30), (8, 30)],
)
def test_days__are_fewer_where_more_came(monkeypatch, most, number):
    monkeypatch.setattr(buckets, "MIN_DAYS", 2)
    for day in ("24T00:00", "24T12:00", "23T00:00", "22T23:59", "22T00:00", "21T09:00", "01T09:00"):
        came(f"2026-11-{day}")
    came("2026-10-01T09:00")
    monkeypatch.setattr(buckets, "MAX_ARRIVALS", most)
    assert buckets.counted_days(NOW) == number


def test_days__are_as_many_as_are_counted():
    came("2026-11-22T23:59")
    came("2026-11-23T00:00")
    found = buckets.days(buckets.arrivals(NOW, 2), NOW, 2)
    assert [f"{day.start:%d}" for day in found] == ["23", "24"]
    assert counted(found, "%d") == {"23": {"succeeded": 1}}


def test_days__count_all_projects_and_hooks():
    for project, hook_id in [("web", "a"), ("web", "b"), ("shop", "a")]:
        came(NOW, project=project, hook_id=hook_id)
    assert counted(days(), "%d") == {"24": {"succeeded": 3}}


@pytest.mark.parametrize(
    ("zone", "expected"),
    [
        ("UTC", {"11-23": 2}),
        ("Asia/Shanghai", {"11-23": 1, "11-24": 1}),
        ("America/New_York", {"11-22": 1, "11-23": 1}),
    ],
)
def test_days__begin_at_midnight_of_the_zone(settings, zone, expected):
    settings.TIME_ZONE = zone
    came("2026-11-23T02:00")
    came("2026-11-23T16:00")
    found = counted(days(), "%m-%d")
    assert found == {day: {"succeeded": number} for day, number in expected.items()}


@pytest.mark.parametrize(
    ("zone", "day", "length"),
    [("Europe/Berlin", "2026-10-25", 25), ("Europe/Berlin", "2026-03-29", 23)],
)
def test_days__of_a_change_of_the_clocks_have_all_their_hours(zone, day, length):
    with timezone.override(zone):
        begin = datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
        for hour in range(-1, length + 1):
            came(begin + timedelta(hours=hour, minutes=1))
        found = days(begin + timedelta(days=3))
    assert counted(found, "%Y-%m-%d")[day] == {"succeeded": length}
    assert sum(bucket.counts["succeeded"] for bucket in found) == length + 2


def test_days__without_an_own_midnight_begin_at_one():
    # In Cairo it is 01:00 at 00:00 of this day.
    came("2026-04-23T21:59")
    came("2026-04-23T22:00", "dead")
    with timezone.override("Africa/Cairo"):
        found = days(moment("2026-04-26T12:00"))
    assert counted(found, "%m-%d") == {"04-23": {"succeeded": 1}, "04-24": {"dead": 1}}


def test_arrivals__have_the_first_and_the_last_of_a_day():
    for at in ("2026-11-23T08:00", "2026-11-23T09:00", "2026-11-23T11:00"):
        came(at, project="web", hook_id="a")
    came("2026-11-23T10:00", project="web", hook_id="b")
    came("2026-11-24T10:00", "dead", project="web", hook_id="a")
    found = sorted(buckets.arrivals(NOW), key=lambda item: (item.hook_id, item.day))
    first = Arrivals(
        project="web",
        hook_id="a",
        state="succeeded",
        day=NOW.date() - timedelta(days=1),
        number=3,
        first_at=moment("2026-11-23T08:00"),
        last_at=moment("2026-11-23T11:00"),
    )
    assert found[0] == first
    assert [(item.hook_id, item.state, item.number) for item in found[1:]] == [
        ("a", "dead", 1),
        ("b", "succeeded", 1),
    ]


def test_buckets__do_without_time_zones(settings):
    settings.USE_TZ = False
    for hour in (23, 11, 12):
        came(datetime(2026, 11, 23 if hour == 23 else 24, hour, 30))  # noqa: DTZ001  # as then
    now = datetime(2026, 11, 24, 12, 34)  # noqa: DTZ001  # as then
    assert counted(hours(now), "%d %H") == {
        f"{hour}": {"succeeded": 1} for hour in ("23 23", "24 11", "24 12")
    }
    assert counted(days(now), "%d") == {"23": {"succeeded": 1}, "24": {"succeeded": 2}}


@pytest.mark.parametrize(
    ("counts", "failed", "processed", "percent"),
    [
        ([{}], 0, 0, None),
        ([{"received": 3, "processing": 2}], 0, 0, None),
        ([{"succeeded": 4}], 0, 4, 0),
        ([{"succeeded": 5, "failed": 1, "received": 9}, {"dead": 2, "unhandled": 2}], 3, 10, 30),
    ],
)
def test_failure_rate__is_of_what_was_processed(counts, failed, processed, percent):
    rate = FailureRate.of(Bucket(start=NOW, end=NOW, counts=item) for item in counts)
    assert (rate.failed, rate.processed, rate.percent) == (failed, processed, percent)

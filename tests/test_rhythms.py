from datetime import date, timedelta

import pytest

from perfsee_webhooks.overview.rhythms import Arrivals, rhythms

from .figures import moment

NOW = moment("2026-11-24T12:00")


def arrived(first, last, number, *, project="web", hook_id="a", state="succeeded"):
    first, last = moment(f"2026-11-{first}"), moment(f"2026-11-{last}")
    return Arrivals(
        project=project,
        hook_id=hook_id,
        state=state,
        day=first.date(),
        number=number,
        first_at=first,
        last_at=last,
    )


def the_rhythm(*arrivals, now=NOW):
    (rhythm,) = rhythms(arrivals, now)
    return rhythm


def test_rhythm__adds_up_the_states_of_a_day():
    rhythm = the_rhythm(
        arrived("22T10:00", "22T16:00", 4),
        arrived("22T09:00", "22T12:00", 1, state="dead"),
        arrived("21T10:00", "21T15:00", 2),
    )
    assert (rhythm.arrivals, rhythm.days) == (7, 2)
    assert rhythm.last_at == moment("2026-11-22T16:00")
    assert rhythm.silence == timedelta(hours=44)
    assert rhythm.longest_pause == timedelta(hours=18)


def test_rhythm__knows_the_mean_gap_within_a_day():
    rhythm = the_rhythm(arrived("21T23:30", "21T23:59", 2), arrived("22T00:00", "22T20:00", 3))
    assert rhythm.longest_pause == timedelta(hours=10)


def test_rhythm__pauses_over_days_without_any():
    rhythm = the_rhythm(arrived("16T12:00", "16T12:00", 1), arrived("20T13:00", "20T13:00", 1))
    assert rhythm.longest_pause == timedelta(days=4, hours=1)


def test_rhythm__of_one_arrival_has_no_pause():
    rhythm = the_rhythm(arrived("20T13:00", "20T13:00", 1))
    assert rhythm.longest_pause is None
    assert not rhythm.is_silent


@pytest.mark.parametrize(
    ("hours_since", "is_silent"), [(0, False), (14.9, False), (15, False), (15.1, True)]
)
def test_silent__beyond_one_and_a_half_of_the_longest_pause(hours_since, is_silent):
    known = (arrived("21T10:00", "21T20:00", 9), arrived("22T06:00", "22T07:00", 9))
    now = moment("2026-11-22T07:00") + timedelta(hours=hours_since)
    rhythm = the_rhythm(*known, now=now)
    assert rhythm.longest_pause == timedelta(hours=10)
    assert rhythm.is_silent == is_silent


@pytest.mark.parametrize(("minutes_since", "is_silent"), [(59, False), (60, False), (61, True)])
def test_silent__not_within_an_hour(minutes_since, is_silent):
    known = (arrived("21T23:50", "21T23:59", 9), arrived("22T00:00", "22T00:09", 9))
    now = moment("2026-11-22T00:09") + timedelta(minutes=minutes_since)
    assert the_rhythm(*known, now=now).is_silent == is_silent


@pytest.mark.parametrize(
    ("numbers", "is_judged"), [((2, 2), False), ((2, 3), True), ((9,), False), ((4, 1), True)]
)
def test_silent__judged_by_five_arrivals_on_two_days(numbers, is_judged):
    known = [
        arrived(f"0{day}T10:00", f"0{day}T{9 + number}:00", number)
        for day, number in enumerate(numbers, start=1)
    ]
    rhythm = the_rhythm(*known)
    assert rhythm.is_judged == rhythm.is_silent == is_judged


def test_rhythm__of_a_clock_that_is_ahead_is_not_silent():
    known = (arrived("23T10:00", "23T10:30", 9), arrived("24T10:00", "24T12:01", 9))
    assert the_rhythm(*known).silence == timedelta(0)


def test_rhythms__the_most_notable_come_first():
    def of(project, last_day):
        return (
            arrived("02T10:00", "02T11:00", 5, project=project),
            arrived(f"{last_day}T10:00", f"{last_day}T10:00", 5, project=project),
        )

    known = [
        *of("long silent", "03"),
        *of("silent", "08"),
        *of("heard of lately", "24"),
        *of("in its pause", "21"),
    ]
    order = ["long silent", "silent", "heard of lately", "in its pause"]
    assert [rhythm.project for rhythm in rhythms(reversed(known), NOW)] == order


def test_rhythms__each_pair_of_project_and_hook_has_its_own():
    known = [
        arrived("23T10:00", "23T10:00", 1, project=project, hook_id=hook)
        for project, hook in [("web", "a"), ("web", "b"), ("", "a")]
    ]
    pairs = [(rhythm.project, rhythm.hook_id) for rhythm in rhythms(known, NOW)]
    assert pairs == [("", "a"), ("web", "a"), ("web", "b")]
    assert rhythms([], NOW) == []
    assert known[0].day == date(2026, 11, 23)

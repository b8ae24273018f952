from datetime import timedelta

import pytest

from perfsee_webhooks.models import Delivery
from perfsee_webhooks.overview import failure_groups as module
from perfsee_webhooks.overview.failure_groups import failure_groups

from .figures import came, failed, moment, ran

pytestmark = pytest.mark.django_db

NOW = moment("2026-11-24T12:00")
SINCE = NOW - timedelta(days=30)
HOUR = timedelta(hours=1)


def test_group__has_its_failures_and_the_latest_of_them():
    first, second = came(NOW - 5 * HOUR), came(NOW - 3 * HOUR, summary="the second")
    failed(first)
    failed(first, started_at=NOW - 4 * HOUR)
    latest = failed(second, exception="RuntimeError: at last")
    ran(second, "tests.other")
    (group,) = failure_groups(SINCE)
    assert (group.key, group.failures, group.still_failing) == ("one", 3, 2)
    assert (group.first_at, group.last_at) == (NOW - 5 * HOUR, NOW - 3 * HOUR)
    assert group.latest == latest
    assert group.latest.exception == "RuntimeError: at last"
    assert group.latest.delivery.summary == "the second"


def test_group__counts_what_fails_with_it_still():
    def delivery_that(*ran_with):
        delivery = came(NOW - HOUR)
        for key in ran_with:
            if key:
                failed(delivery, failure_group=key)
            else:
                ran(delivery)
        return delivery

    delivery_that("one")
    delivery_that("one", "one")
    delivery_that("one", "")
    delivery_that("one", "two")
    delivery_that("two", "one")
    twice = delivery_that("one")
    failed(twice, "tests.other", failure_group="one")
    groups = failure_groups(SINCE)
    assert {group.key: group.still_failing for group in groups} == {"one": 4, "two": 1}
    for group in groups:
        assert group.still_failing == Delivery.objects.failing_with(group.key).count()


def test_group__counts_what_fails_for_longer_than_it_was_seen():
    failed(came(SINCE - HOUR))
    failed(came(SINCE))
    failed(came(SINCE - HOUR), failure_group="long ago")
    (group,) = failure_groups(SINCE)
    assert (group.failures, group.still_failing) == (1, 2)
    assert Delivery.objects.failing_with("one").count() == 2


def test_groups__that_most_fail_with_come_first_then_the_last_seen():
    for key, still_failing, hours_ago in [
        ("mended", 0, 1),
        ("old and many", 3, 9),
        ("few", 1, 5),
        ("few and late", 1, 2),
    ]:
        for _ in range(still_failing):
            failed(came(NOW - hours_ago * HOUR), failure_group=key)
        if not still_failing:
            ran(failed(came(NOW - hours_ago * HOUR), failure_group=key).delivery)
    order = ["old and many", "few and late", "few", "mended"]
    assert [group.key for group in failure_groups(SINCE)] == order


def test_groups__are_bounded(monkeypatch):
    for number in range(5):
        failed(came(NOW - number * HOUR), failure_group=str(number))
    monkeypatch.setattr(module, "MAX_GROUPS", 2)
    assert [group.key for group in failure_groups(SINCE)] == ["0", "1"]
    failed(came(NOW - 4 * HOUR), failure_group="4")
    assert [group.key for group in failure_groups(SINCE)] == ["4", "0"]


def test_groups__are_of_the_newest_failures(monkeypatch):
    for _ in range(3):
        failed(came(NOW - HOUR))
    failed(came(NOW - 2 * HOUR), failure_group="two")
    ran(came(NOW))
    monkeypatch.setattr(module, "MAX_FAILURES", 3)
    found = {group.key: (group.failures, group.still_failing) for group in failure_groups(SINCE)}
    assert found == {"one": (2, 2), "two": (1, 1)}


@pytest.mark.parametrize("number", [1, 5])
def test_groups__are_read_in_four_statements(django_assert_num_queries, number):
    for key in range(number):
        failed(came(NOW), failure_group=str(key))
    with django_assert_num_queries(4) as captured:
        for group in failure_groups(SINCE):
            assert group.latest.receiver
            assert group.latest.delivery.delivery_id
    assert not [query for query in captured if "body" in query["sql"]]


def test_groups__of_an_empty_database():
    assert failure_groups(SINCE) == []

"""The UPDATE that is made once counts as one that Django makes anew would."""

from dataclasses import replace
from datetime import timedelta

import pytest

from perfsee_webhooks.envelope import Envelope
from perfsee_webhooks.models import Arrival, Delivery
from perfsee_webhooks.models.repeating import MAX_LOGGED_REPEATS, count_repeat
from perfsee_webhooks.sending import perfsee_headers

pytestmark = pytest.mark.django_db


@pytest.fixture
def envelope(body):
    headers = perfsee_headers(body, "a secret", delivery_id="one")
    envelope = Envelope.read(body, headers, "SECRETS[0]")
    Delivery.objects.record(envelope)
    Delivery.objects.record(replace(envelope, delivery_id="two"))
    return replace(envelope, received_at=envelope.received_at + timedelta(seconds=1))


def counts():
    return dict(Delivery.objects.values_list("delivery_id", "repeats"))


def test_count_repeat__counts_the_row_with_that_id(envelope):
    for number in (1, 2):
        later = replace(envelope, received_at=envelope.received_at + timedelta(seconds=number))
        assert count_repeat(Delivery, later, using="default")
        assert counts() == {"one": number, "two": 0}
        one = Delivery.objects.get(delivery_id="one")
        assert one.last_repeated_at == later.received_at
        assert one.arrivals[-1] == Arrival(later.received_at, later.hook_id, "SECRETS[0]")
        assert len(one.arrivals) == number + 1


@pytest.mark.parametrize(
    "changes",
    [{"delivery_id": "three"}, {"body_sha256": "0" * 64}, {"received_at": None}],
    ids=["another id", "another body", "the very same request"],
)
def test_count_repeat__finds_no_other_row(envelope, changes):
    first = Delivery.objects.get(delivery_id="one").received_at
    changed = {name: value if value is not None else first for name, value in changes.items()}
    assert not count_repeat(Delivery, replace(envelope, **changed), using="default")
    assert counts() == {"one": 0, "two": 0}


def test_count_repeat__logs_so_many_only(envelope):
    Delivery.objects.update(repeats=MAX_LOGGED_REPEATS)
    assert count_repeat(Delivery, envelope, using="default")
    one = Delivery.objects.get(delivery_id="one")
    assert (one.repeats, one.repeat_log) == (MAX_LOGGED_REPEATS + 1, "")

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import DatabaseError, OperationalError, connection, connections, transaction
from django.utils import timezone

from perfsee_webhooks.history import History
from perfsee_webhooks.leases import Held, LeaseKeeper
from perfsee_webhooks.models import Delivery
from perfsee_webhooks.processing import process

pytestmark = pytest.mark.django_db(transaction=True)

LEASE = timedelta(seconds=1)


class RecordingKeeper(LeaseKeeper):
    """Says when its thread has been through what it holds."""

    def __init__(self) -> None:
        super().__init__()
        self.renewed = threading.Semaphore(0)
        self.before_renewal: Callable[[], None] = lambda: None

    def _renew(self, held: list[Held]) -> None:
        self.before_renewal()
        super()._renew(held)
        if held:
            self.renewed.release()


def claimed(delivery: Delivery) -> Delivery:
    taken = Delivery.objects.claim(delivery.pk)
    assert taken is not None
    return taken


def test_keeping__renews_the_lease_until_the_block_is_left(delivery, webhook_setting):
    webhook_setting(LEASE=LEASE)
    taken, keeper = claimed(delivery), RecordingKeeper()
    with keeper.keeping(taken):
        assert keeper.renewed.acquire(timeout=10)
        assert keeper.renewed.acquire(timeout=10)
        renewed = Delivery.objects.get().lease_expires_at
        assert renewed is not None
        assert taken.lease_expires_at is not None
        assert renewed > taken.lease_expires_at
    while keeper.renewed.acquire(blocking=False):
        pass
    left = Delivery.objects.get().lease_expires_at
    assert not keeper.renewed.acquire(timeout=LEASE.total_seconds())
    assert Delivery.objects.get().lease_expires_at == left


def test_keeping__serves_several_deliveries_with_one_thread(delivery, webhook_setting):
    webhook_setting(LEASE=LEASE)
    taken, keeper = claimed(delivery), RecordingKeeper()
    with keeper.keeping(taken):
        thread = keeper._thread
        with keeper.keeping(taken):
            assert keeper._thread is thread


def test_keeping__hurries_when_the_lease_is_made_shorter(delivery, webhook_setting):
    webhook_setting(LEASE=timedelta(hours=1))
    taken, keeper = claimed(delivery), RecordingKeeper()
    with keeper.keeping(taken):
        webhook_setting(LEASE=LEASE)
        with keeper.keeping(taken):
            assert keeper.renewed.acquire(timeout=10)


def test_keeping__goes_on_after_a_lost_lease(delivery, webhook_setting):
    webhook_setting(LEASE=LEASE)
    taken, keeper = claimed(delivery), RecordingKeeper()
    taken.succeed()
    with keeper.keeping(taken):
        assert keeper.renewed.acquire(timeout=10)
        assert keeper.renewed.acquire(timeout=10)
    assert Delivery.objects.get().state == Delivery.State.SUCCEEDED


def test_keeping__goes_on_after_an_error_of_the_database(delivery, webhook_setting, caplog):
    webhook_setting(LEASE=LEASE)
    taken, keeper = claimed(delivery), RecordingKeeper()

    def break_connection() -> None:
        def refuse(*args):
            raise DatabaseError("gone")

        connections["default"].execute_wrappers.append(refuse)

    keeper.before_renewal = break_connection
    with keeper.keeping(taken):
        assert keeper.renewed.acquire(timeout=10)
        assert keeper.renewed.acquire(timeout=10)
    assert "could not be renewed" in caplog.text


def test_keeping__renews_the_others_while_somebody_has_one_locked(
    delivery, webhook_setting, caplog
):
    if connection.vendor == "sqlite":
        pytest.skip("SQLite locks no rows")
    webhook_setting(LEASE=LEASE)
    another = Delivery.objects.get()
    another.pk, another.delivery_id = None, "another"
    another.save(force_insert=True)
    locked, free, keeper = claimed(delivery), claimed(another), RecordingKeeper()
    assert free.lease_expires_at is not None
    with transaction.atomic():
        list(Delivery.objects.select_for_update().filter(pk=locked.pk))
        with keeper.keeping(locked), keeper.keeping(free):
            assert keeper.renewed.acquire(timeout=10)
        renewed = Delivery.objects.get(pk=free.pk).lease_expires_at
    assert renewed is not None
    assert renewed > free.lease_expires_at
    assert f"The lease of the delivery with primary key {locked.pk} is not renewed" in caplog.text


def test_keeping__renews_the_lease_of_a_receiver_that_refers_to_its_delivery(
    delivery, webhook_setting
):
    if connection.vendor != "postgresql":
        pytest.skip("only PostgreSQL changes a row that somebody is about to refer to")
    webhook_setting(LEASE=LEASE)
    taken, keeper = claimed(delivery), RecordingKeeper()
    with transaction.atomic(), connection.cursor() as cursor:
        # Django's own foreign keys look at the other row at the end alone.
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        History.of(taken).next_run("tests.receiver").succeed()
        with keeper.keeping(taken):
            assert keeper.renewed.acquire(timeout=10)
        renewed = Delivery.objects.get().lease_expires_at
    assert renewed is not None
    assert taken.lease_expires_at is not None
    assert renewed > taken.lease_expires_at


def test_process__is_not_run_beside_itself_by_a_receiver_that_outlives_its_lease(
    delivery, connect, webhook_setting
):
    """The receiver waits until its first lease would have run out, and a second worker tries."""
    webhook_setting(LEASE=LEASE)
    second: list[Delivery | None] = []

    def try_again() -> None:
        try:
            if connection.vendor == "sqlite":
                connection.cursor().execute("PRAGMA busy_timeout = 100")
            second.append(process(delivery.pk))
        except OperationalError:
            # On SQLite the transaction of the receiver is the only one that may write at all.
            assert connection.vendor == "sqlite"
            second.append(None)
        finally:
            connection.close()

    def outlive(**_):
        deadline = timezone.now() + 2 * LEASE
        while timezone.now() < deadline:
            worker = threading.Thread(target=try_again)
            worker.start()
            worker.join()

    receiver = connect(side_effect=outlive)
    left = process(delivery.pk)
    assert left is not None
    assert left.state == Delivery.State.SUCCEEDED
    assert receiver.call_count == 1
    assert second
    assert set(second) == {None}

"""Pruning: what goes and what stays, in which order, and how it is told."""

from __future__ import annotations

import json
import time
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection
from django.utils import timezone

from perfsee_webhooks import pruning
from perfsee_webhooks.models import Delivery, ReceiverRun, Rejection
from perfsee_webhooks.processing import process

from .replays import opened_again
from .test_replay import store

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)


@pytest.fixture
def kept(webhook_setting):
    webhook_setting(KEEP_BODIES=30 * DAY, KEEP_ROWS=365 * DAY)


def aged(days, state="succeeded"):
    return store(state=state, received_at=timezone.now() - days * DAY)


def pruned(batch_size=10):
    shown: list[int] = []
    rows = pruning.prune_rows(batch_size=batch_size, show=shown.append)
    bodies = pruning.prune_bodies(batch_size=batch_size, show=shown.append)
    return rows, bodies, shown


def test_prune__bodies_first_and_rows_long_after(kept):
    new, old, ancient = aged(29), aged(31), aged(366)
    assert pruned()[:2] == (1, 1)
    assert not Delivery.objects.filter(pk=ancient.pk).exists()
    old.refresh_from_db()
    assert bytes(old.body) == b""
    assert old.body_pruned_at is not None
    assert (old.summary, len(old.body_sha256)) == ("main @ feat/webhook passed, score 57", 64)
    new.refresh_from_db()
    assert (bool(new.body), new.body_pruned_at) == (True, None)
    assert pruned()[:2] == (0, 0)


@pytest.mark.parametrize("state", Delivery.State.values)
def test_prune__leaves_what_is_not_settled(kept, state):
    row = aged(1000, state="succeeded")
    lease = {"lease_token": "0" * 32} if state == "processing" else {}
    Delivery.objects.filter(pk=row.pk).update(state=state, **lease)
    stays = state in ("received", "processing", "failed")
    assert pruned()[0] == (0 if stays else 1)


def test_prune__keeps_all_unless_it_is_told(webhook_setting):
    aged(10_000)
    assert pruned()[:2] == (0, 0)
    webhook_setting(KEEP_ROWS=DAY)
    assert pruned()[:2] == (1, 0)


def test_prune__a_known_id_stays_known_without_its_bytes(kept, post, body, connect):
    receiver = connect()
    post(body, delivery_id="one")
    Delivery.objects.update(received_at=timezone.now() - 31 * DAY)
    pruned()
    assert post(body, delivery_id="one").status_code == 204
    assert post(b"{}", delivery_id="one").status_code == 409
    assert (Delivery.objects.get().repeats, receiver.call_count) == (1, 1)


def test_prune__takes_the_history_along(kept, connect):
    connect()
    row = aged(366, state="received")
    process(row.pk)
    Rejection.objects.create(
        reason="malformed", body=b"", body_size=0, received_at=timezone.now(), accepted_as=row
    )
    assert ReceiverRun.objects.count() == 1
    assert pruned()[0] == 1
    assert not ReceiverRun.objects.exists()
    assert Rejection.objects.get().accepted_as is None


def test_prune__takes_what_was_replayed(kept):
    rows = [aged(366), aged(31)]
    opened_again()
    Delivery.objects.update(state="succeeded")
    assert pruned()[:2] == (1, 1)
    assert opened_again().accepted == 0, "without its bytes there is nothing to run"
    assert Delivery.objects.get() == rows[1]


def test_prune__goes_on_in_batches(kept):
    for _ in range(5):
        aged(31)
    moment = timezone.now() - 366 * DAY
    for _ in range(5):
        store(state="dead", received_at=moment)
    assert pruned(batch_size=2) == (5, 5, [2, 3, 4, 5, 2, 3, 4, 5])


def test_prune__has_neighbours_in_batches_of_their_own(kept):
    rows = [aged(40 - number).pk for number in range(9)]
    batches: list[list[int]] = []

    def note(_count):
        pruned_by_now = Delivery.objects.exclude(body_pruned_at=None).order_by("pk")
        batches.append(list(pruned_by_now.values_list("pk", flat=True)))

    assert pruning.prune_bodies(batch_size=2, show=note) == 9
    assert batches[0] == [rows[0], rows[4]]
    assert batches[1] == [rows[0], rows[1], rows[4], rows[5]]
    assert [len(batch) for batch in batches] == [2, 4, 6, 8, 9]


def test_prune__pauses_between_batches(kept, monkeypatch):
    for _ in range(2):
        aged(31)
    paused: list[float] = []
    monkeypatch.setattr(time, "sleep", paused.append)
    pruned(batch_size=1)
    assert len(paused) == 2
    assert all(pause > 0 for pause in paused)


@pytest.mark.django_db(transaction=True)
def test_prune__keeps_what_it_has_done_when_it_is_stopped(kept):
    for _ in range(4):
        aged(31)
    updates = []

    def break_off(execute, sql, *args):
        if sql.startswith("UPDATE"):
            updates.append(sql)
            if len(updates) == 2:
                raise DatabaseError
        return execute(sql, *args)

    with connection.execute_wrapper(break_off), pytest.raises(DatabaseError):
        pruned(batch_size=2)
    assert Delivery.objects.filter(body_pruned_at=None).count() == 3
    assert pruned()[1] == 3


def perfsee_prune(*arguments):
    written = StringIO()
    call_command("perfsee_prune", *arguments, stdout=written)
    return written.getvalue()


def test_command__tells_what_it_has_done(kept):
    aged(31)
    aged(31)
    aged(366)
    said = "1 delivery (older than 365 days, 0:00:00), and the bytes of 2 more (older than 30 days"
    assert perfsee_prune("--dry-run").startswith(f"Would remove {said}")
    assert Delivery.objects.filter(body_pruned_at=None).count() == 3
    *_progress, told = perfsee_prune().splitlines()
    assert told.startswith(f"Removed {said}")
    assert json.loads(perfsee_prune("--json")) == {"rows": 0, "bodies": 0, "dry_run": False}


def test_command__says_that_all_is_kept():
    assert perfsee_prune() == (
        "Removed 0 deliveries (kept for ever), and the bytes of 0 more (kept for ever).\n"
    )


def test_command__refuses_an_impossible_batch(kept):
    for number in ("0", "10001"):
        with pytest.raises(CommandError, match="--batch-size has to be from 1 to 10,000"):
            perfsee_prune(f"--batch-size={number}")


def test_prune__ends_where_another_process_has_all_of_one_moment_locked(db):
    for _number in range(10):
        store()
    Delivery.objects.update(received_at=timezone.now())
    shown: list[int] = []
    pruning._in_batches(Delivery.objects.all(), 1, shown.append, lambda _batch: None)
    assert len(shown) == 10

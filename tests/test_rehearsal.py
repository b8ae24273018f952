"""The dry run: what it runs, what it takes back, and what it tells."""

from __future__ import annotations

import sys
from functools import partial

import pytest
from django.contrib.auth.models import Group
from django.db import connection, transaction

from perfsee_webhooks import replay
from perfsee_webhooks.models import Delivery, ReceiverRun, Replay
from perfsee_webhooks.processing import process
from perfsee_webhooks.signals import bundle_finished, source_finished

pytestmark = pytest.mark.django_db(transaction=True)


def write(name="written", **kwargs):
    Group.objects.create(name=name)


def rows():
    """Everything that a rehearsal could have left."""
    return (
        list(Delivery.objects.values()),
        Group.objects.count(),
        ReceiverRun.objects.count(),
    )


def rehearsed(delivery, **kwargs):
    before = rows()
    rehearsal = replay.rehearse(delivery, **kwargs)
    assert rows() == before
    assert not connection.in_atomic_block
    return rehearsal.runs


def test_rehearse__takes_back_what_succeeds(delivery, connect):
    connect(side_effect=write)
    (tried,) = rehearsed(delivery)
    assert tried.run.receiver == "tests.receiver"
    assert tried.run.outcome == "succeeded"
    assert (tried.statements, tried.callbacks) == (1, [])
    assert 0 < tried.statement_ms < tried.run.duration_ms


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(1)])
def test_rehearse__tells_what_fails(delivery, connect, error):
    def fail(**kwargs):
        write()
        raise error

    connect(side_effect=fail)
    (tried,) = rehearsed(delivery)
    assert tried.run.outcome == "failed"
    assert tried.run.exception.startswith(type(error).__name__)
    assert f'File "{__file__}"' in tried.run.traceback
    assert tried.statements == 1


def test_rehearse__keeps_the_receivers_apart(delivery, connect):
    seen = []

    def break_the_transaction(**kwargs):
        Group.objects.create(pk=1, name="a")
        Group.objects.bulk_create([Group(pk=1, name="b")])

    def look(**kwargs):
        seen.append(Group.objects.count())

    connect(name="broken", side_effect=break_the_transaction)
    connect(name="next", side_effect=look)
    broken, following = rehearsed(delivery)
    assert broken.run.exception.startswith("IntegrityError")
    assert (following.run.outcome, seen) == ("succeeded", [0])


def test_rehearse__calls_nothing_that_waits_for_the_commit(delivery, connect):
    called: list[int] = []

    def leave(**kwargs):
        transaction.on_commit(partial(called.append, 1))
        transaction.on_commit(write)

    connect(side_effect=leave)
    (tried,) = rehearsed(delivery)
    assert tried.callbacks == ["builtins.list.append", f"{__name__}.write"]
    transaction.on_commit(partial(called.append, 2))
    assert called == [2]


def test_rehearse__counts_only_its_own_callbacks(delivery, connect):
    connect(name="one", side_effect=lambda **_: transaction.on_commit(write))
    connect(name="two", side_effect=lambda **_: transaction.on_commit(rows))
    assert [tried.callbacks for tried in rehearsed(delivery)] == [
        [f"{__name__}.write"],
        [f"{__name__}.rows"],
    ]


def test_rehearse__is_a_failure_where_the_work_was_marked_for_rollback(delivery, connect):
    connect(side_effect=lambda **_: transaction.set_rollback(True))
    (tried,) = rehearsed(delivery)
    assert tried.run.exception.startswith("ReceiverRolledBack")


def test_rehearse__runs_an_async_receiver(delivery, no_receivers):
    async def receiver(sender, delivery, event, **kwargs):
        await Group.objects.acreate(name="written")

    bundle_finished.connect(receiver, weak=False)
    (tried,) = rehearsed(delivery)
    assert (tried.run.outcome, tried.statements) == ("succeeded", 1)


def test_rehearse__runs_those_that_are_named(delivery, connect):
    one, two = connect(name="one"), connect(bundle_finished, name="two")
    other = connect(source_finished, name="other")
    assert len(rehearsed(delivery, only=("tests.two", "tests.other"))) == 1
    assert (one.call_count, two.call_count, other.call_count) == (0, 1, 0)


def test_rehearse__chooses_as_a_replay_would(delivery, connect):
    good = connect(name="good")
    connect(name="bad", side_effect=ValueError)
    process(delivery.pk)
    failed = replay.rehearse(delivery, receivers=Replay.Receivers.FAILED)
    assert [tried.run.receiver for tried in failed.runs] == ["tests.bad"]
    assert good.call_count == 1
    assert len(replay.rehearse(delivery).runs) == 2


def test_rehearse__lets_an_interrupt_through_and_takes_back(delivery, connect):
    def interrupt(**kwargs):
        write()
        raise KeyboardInterrupt

    connect(side_effect=interrupt)
    before = rows()
    with pytest.raises(KeyboardInterrupt):
        replay.rehearse(delivery)
    assert rows() == before
    assert sys.exc_info() == (None, None, None)

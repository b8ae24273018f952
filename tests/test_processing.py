from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from datetime import timedelta
from unittest.mock import create_autospec

import pytest
from django.contrib.auth.models import Group, Permission
from django.db import IntegrityError, OperationalError, connection, transaction
from django.utils import timezone

from perfsee_webhooks import processing, signals
from perfsee_webhooks.exceptions import GiveUp, LeaseLost, RetryLater
from perfsee_webhooks.models import Delivery, ReceiverRun, Replay
from perfsee_webhooks.payloads import BundleFinished
from perfsee_webhooks.processing import MAX_BACKOFF, process

from .replays import opened_again

State = Delivery.State
Outcome = ReceiverRun.Outcome


def outcomes() -> list[tuple[str, str]]:
    return list(ReceiverRun.objects.order_by("pk").values_list("receiver", "outcome"))


def processed(delivery: Delivery) -> Delivery:
    left = process(delivery.pk)
    assert left is not None
    return left


def make_due() -> None:
    Delivery.objects.filter(state=State.FAILED).update(next_attempt_at=timezone.now())


def test_process__calls_a_receiver_as_documented(delivery, connect):
    receiver = connect(signals.bundle_finished)
    process(delivery.pk)
    call = receiver.call_args.kwargs
    assert call["sender"] is Delivery
    assert call["delivery"] == delivery
    assert call["event"].bundle.artifact.score == 57
    assert type(call["event"]) is type(delivery.event) is BundleFinished
    assert call["signal"] is signals.bundle_finished


def test_process__records_what_each_receiver_did(delivery, connect):
    connect(name="good")
    connect(name="bad", side_effect=ValueError("no score"))
    connect(name="better")
    left = processed(delivery)
    assert left.state == State.FAILED
    assert outcomes() == [
        ("tests.good", Outcome.SUCCEEDED),
        ("tests.bad", Outcome.FAILED),
        ("tests.better", Outcome.SUCCEEDED),
    ]
    failed = ReceiverRun.objects.get(outcome=Outcome.FAILED)
    assert failed.exception == "ValueError: no score"
    assert "Traceback (most recent call last)" in failed.traceback
    assert failed.trigger == ReceiverRun.Trigger.FIRST
    assert failed.duration >= timedelta(0)
    assert failed.duration_ms >= 0


def test_process__settles_a_delivery_that_no_receiver_is_for(delivery, no_receivers):
    assert processed(delivery).state == State.UNHANDLED


def test_process__settles_a_delivery_whose_receivers_all_succeeded(delivery, connect):
    connect()
    assert processed(delivery).state == State.SUCCEEDED
    assert Delivery.objects.get().settled_at is not None


def test_process__runs_only_what_has_not_succeeded(delivery, connect):
    good, bad = connect(name="good"), connect(name="bad", side_effect=[ValueError, None])
    process(delivery.pk)
    make_due()
    assert processed(delivery).state == State.SUCCEEDED
    assert (good.call_count, bad.call_count) == (1, 2)
    second = ReceiverRun.objects.get(receiver="tests.bad", number=2)
    assert second.trigger == ReceiverRun.Trigger.RETRY


def test_process__does_nothing_with_a_settled_delivery(delivery, connect):
    receiver = connect()
    process(delivery.pk)
    assert process(delivery.pk) is None
    assert receiver.call_count == 1


def test_process__does_nothing_without_a_delivery(db):
    assert process(1) is None


def test_process__gives_up_after_the_last_attempt(delivery, connect, webhook_setting):
    webhook_setting(MAX_ATTEMPTS=3)
    bad = connect(side_effect=ValueError)
    states = []
    for _ in range(3):
        make_due()
        states.append(processed(delivery).state)
    assert states == [State.FAILED, State.FAILED, State.DEAD]
    assert process(delivery.pk) is None
    assert bad.call_count == 3


@pytest.mark.parametrize(
    "error", [SystemExit(1), asyncio.CancelledError(), RecursionError(), MemoryError()], ids=repr
)
def test_process__takes_an_exit_for_a_failure(delivery, connect, error):
    connect(name="leaver", side_effect=error)
    other = connect(name="other")
    assert processed(delivery).state == State.FAILED
    assert other.call_count == 1


def test_process__lets_an_interrupt_through_and_keeps_the_lease(delivery, connect):
    connect(side_effect=KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        process(delivery.pk)
    assert Delivery.objects.get().state == State.PROCESSING
    assert not ReceiverRun.objects.exists()


def test_process__runs_async_receivers(delivery, no_receivers):
    called = []

    async def receiver(sender, delivery, event, **kwargs):
        await asyncio.sleep(0)
        await Group.objects.acreate(name=event.type)
        called.append(delivery)

    signals.delivery_received.connect(receiver)
    assert processed(delivery).state == State.SUCCEEDED
    assert called == [delivery]
    assert Group.objects.get().name == "bundle:finished"


def test_process__has_the_whole_replay_for_an_async_receiver(delivery, no_receivers):
    reasons = []

    async def receiver(sender, delivery, event, **kwargs):
        reasons.append(delivery.replay.reason)

    signals.delivery_received.connect(receiver)
    opened_again(receivers="all", reason="a reason")
    assert processed(delivery).state == State.SUCCEEDED
    assert reasons == ["a reason"]


def test_process__rolls_back_what_an_async_receiver_wrote(delivery, no_receivers):
    async def receiver(sender, delivery, event, **kwargs):
        await Group.objects.acreate(name="half")
        raise ValueError

    signals.delivery_received.connect(receiver)
    assert processed(delivery).state == State.FAILED
    assert not Group.objects.exists()


def test_process__rolls_back_what_a_failing_receiver_wrote(delivery, connect):
    def write_and_fail(**kwargs):
        Group.objects.create(name="half")
        raise ValueError

    connect(name="bad", side_effect=write_and_fail)
    connect(name="good", side_effect=lambda **_: Group.objects.create(name="whole"))
    process(delivery.pk)
    assert [group.name for group in Group.objects.all()] == ["whole"]


def test_process__survives_a_receiver_that_breaks_its_transaction(delivery, connect):
    def break_transaction(**kwargs):
        with contextlib.suppress(IntegrityError):
            Delivery.objects.filter(pk=delivery.pk).update(state="nonsense")

    connect(name="breaker", side_effect=break_transaction)
    good = connect(name="good")
    assert processed(delivery).state == State.FAILED
    assert dict(outcomes())["tests.breaker"] == Outcome.FAILED
    assert good.call_count == 1


def test_process__takes_a_rollback_without_exception_for_a_failure(delivery, connect):
    connect(side_effect=lambda **_: transaction.set_rollback(True))
    assert processed(delivery).state == State.FAILED
    assert "ReceiverRolledBack" in ReceiverRun.objects.get().exception


@pytest.mark.django_db(transaction=True)
def test_process__notes_an_error_after_the_commit_without_running_again(delivery, connect):
    def fail_after_commit():
        raise ValueError("the mail was not sent")

    def write(**kwargs):
        Group.objects.create(name="whole")
        transaction.on_commit(fail_after_commit)

    connect(side_effect=write)
    assert processed(delivery).state == State.SUCCEEDED
    run = ReceiverRun.objects.get()
    assert run.outcome == Outcome.SUCCEEDED
    assert run.exception == "ValueError: the mail was not sent"
    assert Group.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_process__runs_callbacks_only_after_the_receiver_was_committed(delivery, connect):
    seen = []

    def write(**kwargs):
        transaction.on_commit(lambda: seen.append(connection.in_atomic_block))

    connect(side_effect=write)
    process(delivery.pk)
    assert seen == [False]


@pytest.mark.django_db(transaction=True)
def test_process__takes_a_commit_that_fails_for_a_failure(delivery, connect):
    def break_a_deferred_rule(**kwargs):
        Group.objects.create(name="half")
        Permission.objects.create(name="x", codename="x", content_type_id=2**31 - 1)

    connect(side_effect=break_a_deferred_rule)
    assert processed(delivery).state == State.FAILED
    assert ReceiverRun.objects.get().exception.startswith("IntegrityError")
    assert not Group.objects.exists()
    assert Delivery.objects.get().settled_at is None


def test_process__gives_each_receiver_things_of_its_own(delivery, connect):
    def spoil(delivery, event, **kwargs):
        delivery.pk = delivery.delivery_id = None
        event.raw.clear()

    connect(name="spoiler", side_effect=spoil)
    good = connect(name="good")
    process(delivery.pk)
    assert good.call_args.kwargs["delivery"] == delivery
    assert good.call_args.kwargs["event"].bundle.artifact.score == 57


def test_process__rolls_back_a_receiver_whose_lease_was_taken_over(delivery, connect):
    def be_overtaken(**kwargs):
        Group.objects.create(name="twice")
        Delivery.objects.update(lease_token="00000000-0000-4000-8000-000000000000")

    overtaken = connect(name="overtaken", side_effect=be_overtaken)
    later = connect(name="later")
    with transaction.atomic():
        process(delivery.pk)
    assert overtaken.call_count == 1
    assert later.call_count == 0
    assert not Group.objects.exists()
    assert not ReceiverRun.objects.exists()


def test_process__records_no_failure_when_the_lease_was_taken_over(delivery, connect):
    def be_overtaken_and_fail(**kwargs):
        raise ValueError

    def take_over(self):
        raise LeaseLost

    connect(side_effect=be_overtaken_and_fail)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Delivery, "renew_lease", take_over)
        process(delivery.pk)
    assert not ReceiverRun.objects.exists()


def test_process__runs_all_receivers_in_a_replay_of_all(delivery, connect):
    good, bad = connect(name="good"), connect(name="bad", side_effect=[ValueError, None])
    process(delivery.pk)
    opened_again(receivers=Replay.Receivers.ALL)
    assert processed(delivery).state == State.SUCCEEDED
    assert (good.call_count, bad.call_count) == (2, 2)
    assert (
        list(
            ReceiverRun.objects.exclude(replay=None).values_list(
                "trigger", "requested_by", "number"
            )
        )
        == [("replay", "somebody", 2)] * 2
    )


def test_process__does_not_repeat_in_a_retry_what_succeeded_in_the_replay(delivery, connect):
    good = connect(name="good")
    bad = connect(name="bad", side_effect=[ValueError, ValueError, None])
    process(delivery.pk)
    opened_again(receivers=Replay.Receivers.ALL)
    process(delivery.pk)
    make_due()
    assert processed(delivery).state == State.SUCCEEDED
    assert (good.call_count, bad.call_count) == (2, 3)


def test_process__runs_what_failed_in_a_replay_of_the_failed(delivery, connect, webhook_setting):
    webhook_setting(MAX_ATTEMPTS=1)
    good, bad = connect(name="good"), connect(name="bad", side_effect=[ValueError, None])
    assert processed(delivery).state == State.DEAD
    opened_again()
    assert processed(delivery).state == State.SUCCEEDED
    assert (good.call_count, bad.call_count) == (1, 2)


@pytest.mark.django_db(transaction=True)
def test_process__executes_no_more_statements_than_these(
    delivery, connect, django_assert_num_queries
):
    connect()
    # Whether MySQL has rolled the transaction back behind the receiver's back.
    mark = ["SAVEPOINT", "RELEASE"] if connection.vendor == "mysql" else []
    # The delivery with its body, which only MySQL's UPDATE does not return.
    reading = ["SELECT"] if connection.vendor == "mysql" else []
    with django_assert_num_queries(5 + len(mark) + len(reading)) as captured:
        process(delivery.pk)
    assert [query["sql"].split()[0] for query in captured] == [
        "UPDATE",  # the claim
        *reading,
        "BEGIN",
        *mark,
        "UPDATE",  # the settled state, which is the fence
        "INSERT",  # the run
        "COMMIT",
    ]


@pytest.mark.django_db(transaction=True)
def test_process__fails_a_receiver_that_went_on_after_a_deadlock(delivery, connect):
    if connection.vendor != "mysql":
        pytest.skip("only MySQL and MariaDB roll a transaction back that then goes on")
    ours, theirs = Group.objects.bulk_create([Group(name="ours"), Group(name="theirs")])
    is_locked = threading.Event()

    def lock(group, name):
        Group.objects.filter(pk=group.pk).update(name=name)

    def rival():
        try:
            with transaction.atomic():
                # The one that has written less is rolled back.
                Group.objects.bulk_create(Group(name=str(number)) for number in range(100))
                lock(theirs, "rival")
                is_locked.set()
                lock(ours, "rival's")
        finally:
            connection.close()

    def go_on(**_):
        lock(ours, "written")
        thread.start()
        assert is_locked.wait(10)
        with contextlib.suppress(OperationalError):
            Group.objects.select_for_update().get(pk=theirs.pk)

    thread = threading.Thread(target=rival)
    connect(side_effect=go_on)
    assert processed(delivery).state == State.FAILED
    thread.join()
    assert Group.objects.get(pk=ours.pk).name == "rival's"
    assert ReceiverRun.objects.get().exception_type == "OperationalError"


def test_process__tells_once_of_a_body_that_came_under_another_id(db, body, post, connect, caplog):
    connect(side_effect=[None, ValueError, None])
    post(body, delivery_id="one")
    assert not caplog.records
    post(body, delivery_id="two")
    told = [record.getMessage() for record in caplog.records if "same body" in record.getMessage()]
    assert told == [
        "Delivery two has the same body as delivery one: somebody may have sent it again."
    ]
    caplog.clear()
    Delivery.objects.filter(delivery_id="two").update(next_attempt_at=timezone.now())
    process(Delivery.objects.get(delivery_id="two").pk)
    assert "same body" not in caplog.text


@pytest.mark.parametrize("attempts", [1, 2, 5, 30, 1000, sys.maxsize])
def test_backoff__is_drawn_below_a_longest_wait_that_doubles(attempts, webhook_setting):
    base = timedelta(seconds=10)
    webhook_setting(BACKOFF=base)
    waits = [processing._backoff(attempts) for _ in range(300)]
    longest = min(base * 2 ** min(attempts - 1, 30), MAX_BACKOFF)
    assert timedelta(0) <= min(waits) < longest / 4
    assert longest * 3 / 4 < max(waits) <= longest


def abandon(delivery: Delivery) -> None:
    """Leave a delivery as a process leaves it that is killed while it runs a receiver."""
    Delivery.objects.filter(pk=delivery.pk).update(
        lease_expires_at=timezone.now() - timedelta(seconds=1)
    )


def be_killed(**kwargs):
    raise KeyboardInterrupt


def run_and_be_killed(delivery: Delivery) -> None:
    with pytest.raises(KeyboardInterrupt):
        process(delivery.pk)
    abandon(delivery)


def test_process__records_the_run_of_a_worker_that_was_lost(delivery, connect):
    connect(name="first")
    connect(name="killer", side_effect=[KeyboardInterrupt, None])
    connect(name="last")
    run_and_be_killed(delivery)
    assert processed(delivery).state == State.SUCCEEDED
    assert outcomes() == [
        ("tests.first", Outcome.SUCCEEDED),
        ("tests.killer", Outcome.LOST),
        ("tests.last", Outcome.SUCCEEDED),
        ("tests.killer", Outcome.SUCCEEDED),
    ]
    lost = ReceiverRun.objects.get(outcome=Outcome.LOST)
    assert lost.exception.startswith("worker lost")
    assert (lost.attempt, lost.number) == (1, 1)


def test_process__takes_the_failed_for_done_when_it_says_which_one_was_lost(delivery, connect):
    connect(name="bad", side_effect=[ValueError, None])
    connect(name="killer", side_effect=[KeyboardInterrupt, None])
    run_and_be_killed(delivery)
    assert processed(delivery).state == State.SUCCEEDED
    lost = ReceiverRun.objects.get(outcome=Outcome.LOST)
    assert lost.receiver == "tests.killer"


def test_process__lets_all_others_run_before_the_one_that_ends_the_process(
    delivery, connect, webhook_setting
):
    webhook_setting(MAX_ATTEMPTS=3)
    killer = connect(name="killer", side_effect=be_killed)
    good = connect(name="good")
    for _ in range(3):
        run_and_be_killed(delivery)
    assert processed(delivery).state == State.DEAD
    assert (killer.call_count, good.call_count) == (3, 1)
    assert [outcome for receiver, outcome in outcomes() if receiver == "tests.killer"] == [
        Outcome.LOST
    ] * 3


def test_process__takes_a_delivery_up_that_was_abandoned_before_any_receiver(delivery, connect):
    receiver = connect()
    Delivery.objects.claim(delivery.pk)
    abandon(delivery)
    assert processed(delivery).state == State.SUCCEEDED
    assert receiver.call_count == 1


def test_process__waits_as_long_as_a_receiver_asks_for(delivery, connect):
    connect(name="busy", side_effect=RetryLater(timedelta(hours=3)))
    connect(name="bad", side_effect=ValueError)
    left = processed(delivery)
    assert left.next_attempt_at is not None
    assert timedelta(hours=2) < left.next_attempt_at - timezone.now() <= timedelta(hours=3)
    assert ReceiverRun.objects.get(receiver="tests.busy").exception == (
        "RetryLater: again in 3:00:00"
    )


def test_process__is_dead_when_nothing_but_given_up_receivers_is_left(delivery, connect):
    hopeless = connect(name="hopeless", side_effect=GiveUp("no such project"))
    bad = connect(name="bad", side_effect=[ValueError, None])
    assert processed(delivery).state == State.FAILED
    make_due()
    assert processed(delivery).state == State.DEAD
    assert (hopeless.call_count, bad.call_count) == (1, 2)
    assert ReceiverRun.objects.get(receiver="tests.hopeless").gave_up


def test_process__runs_a_receiver_that_gave_up_in_a_replay(delivery, connect):
    hopeless = connect(side_effect=[GiveUp("no such project"), None])
    assert processed(delivery).state == State.DEAD
    opened_again()
    assert processed(delivery).state == State.SUCCEEDED
    assert hopeless.call_count == 2


def test_process__forgets_a_receiver_that_no_longer_exists(delivery, connect):
    connect(name="good")
    gone = connect(name="gone", side_effect=ValueError)
    assert processed(delivery).state == State.FAILED
    signals.delivery_received.disconnect(gone)
    make_due()
    assert processed(delivery).state == State.SUCCEEDED


def test_process__tells_once_of_a_dead_delivery(delivery, connect, webhook_setting, caplog):
    def documented(sender, delivery, runs, **kwargs):
        """The signature that the documentation gives a receiver of delivery_failed."""

    webhook_setting(MAX_ATTEMPTS=2)
    connect(side_effect=ValueError("no score"))
    alert, broken = create_autospec(documented), create_autospec(documented, side_effect=OSError)
    for receiver in (broken, alert):
        signals.delivery_failed.connect(receiver)
    try:
        process(delivery.pk)
        assert alert.call_count == 0
        make_due()
        assert processed(delivery).state == State.DEAD
    finally:
        for receiver in (broken, alert):
            signals.delivery_failed.disconnect(receiver)
    assert alert.call_count == 1
    assert alert.call_args.kwargs["delivery"] == delivery
    assert [run.exception for run in alert.call_args.kwargs["runs"]] == ["ValueError: no score"]
    assert "in Signal.send_robust()" in caplog.text


def test_process__takes_a_retry_without_timedelta_for_a_failure(delivery, connect):
    def ask_in_seconds(**_):
        raise RetryLater(60)  # type: ignore[arg-type]  # the slip that it is about

    connect(name="careless", side_effect=ask_in_seconds)
    good = connect(name="good")
    assert processed(delivery).state == State.FAILED
    assert good.call_count == 1
    assert "RetryLater takes a timedelta" in ReceiverRun.objects.get(outcome="failed").exception


def test_process__bounds_what_a_receiver_may_ask_for(delivery, connect):
    connect(side_effect=RetryLater(timedelta.max))
    left = processed(delivery)
    assert left.next_attempt_at is not None
    assert left.next_attempt_at <= timezone.now() + processing.MAX_DELAY


def test_process__gives_each_receiver_a_turn_where_a_process_died_at_the_last_attempt(
    delivery, connect, webhook_setting
):
    webhook_setting(MAX_ATTEMPTS=1)
    connect(name="killer", side_effect=be_killed)
    good = connect(name="good")
    run_and_be_killed(delivery)
    assert processed(delivery).state == State.DEAD
    assert good.call_count == 1


def test_process__takes_what_succeeded_before_the_process_died_for_success(
    delivery, connect, webhook_setting
):
    webhook_setting(MAX_ATTEMPTS=1)
    good, killer = connect(name="good"), connect(name="killer", side_effect=be_killed)
    run_and_be_killed(delivery)
    signals.delivery_received.disconnect(killer)
    assert processed(delivery).state == State.SUCCEEDED
    assert good.call_count == 1


@pytest.mark.django_db(transaction=True)
def test_process__settles_in_the_transaction_of_the_last_receiver(delivery, connect, monkeypatch):
    seen: list[tuple[str, bool]] = []
    succeed = Delivery.succeed

    def succeed_and_tell(taken: Delivery) -> None:
        succeed(taken)
        seen.append((taken.state, connection.in_atomic_block))

    monkeypatch.setattr(Delivery, "succeed", succeed_and_tell)
    connect(name="first")
    connect(name="last")
    process(delivery.pk)
    assert seen == [(State.SUCCEEDED, True)]


@pytest.mark.django_db(transaction=True)
def test_process__is_not_settled_where_the_last_run_was_rolled_back(delivery, connect, monkeypatch):
    connect()
    with monkeypatch.context() as patch:
        patch.setattr(ReceiverRun, "succeed", be_killed_by)
        run_and_be_killed(delivery)
    assert Delivery.objects.get().state == State.PROCESSING
    assert not ReceiverRun.objects.exists()


def be_killed_by(_run: ReceiverRun) -> None:
    raise KeyboardInterrupt


def test_process__counts_only_the_last_run_of_a_receiver_in_a_replay_of_the_failed(
    delivery, connect, webhook_setting
):
    webhook_setting(MAX_ATTEMPTS=1)
    receiver = connect(side_effect=[None, ValueError, None])
    process(delivery.pk)
    opened_again(receivers=Replay.Receivers.ALL)
    assert processed(delivery).state == State.DEAD
    opened_again()
    assert processed(delivery).state == State.SUCCEEDED
    assert receiver.call_count == 3

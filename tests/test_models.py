from __future__ import annotations

import threading
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import (
    DatabaseError,
    IntegrityError,
    OperationalError,
    connection,
    connections,
    transaction,
)
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from perfsee_webhooks.envelope import Envelope
from perfsee_webhooks.exceptions import DeliveryConflict, LeaseLost, SameBody, WrongSignature
from perfsee_webhooks.models import (
    Arrival,
    Delivery,
    Heartbeat,
    ReceiverRun,
    Rejection,
    Replay,
)
from perfsee_webhooks.models import rejection as rejections
from perfsee_webhooks.models.rejection import MAX_UNVERIFIED_BODY_BYTES
from perfsee_webhooks.models.repeating import MAX_LOGGED_REPEATS
from perfsee_webhooks.rates import Rate
from perfsee_webhooks.sending import perfsee_headers

from .locks import waiting_elsewhere
from .replays import opened_again
from .sites import SECRET

State = Delivery.State
LATER = timedelta(hours=1)


def envelope_of(body: bytes, delivery_id: str = "one") -> Envelope:
    headers = perfsee_headers(body, SECRET, delivery_id=delivery_id)
    return Envelope.read(body, headers, "SECRETS[0]")


def recorded(body: bytes) -> Delivery:
    primary_key = Delivery.objects.record(envelope_of(body, "two"))
    assert primary_key is not None
    return Delivery.objects.get(pk=primary_key)


def claimed(delivery: Delivery) -> Delivery:
    taken = Delivery.objects.claim(delivery.pk)
    assert taken is not None
    return taken


def lose_lease(delivery: Delivery) -> None:
    Delivery.objects.filter(pk=delivery.pk).update(lease_expires_at=timezone.now() - LATER)


def test_migrations__are_complete(db):
    call_command("makemigrations", "--check", "--dry-run", stdout=StringIO())


@pytest.mark.django_db(transaction=True)
def test_record__is_one_statement(body, django_assert_num_queries):
    with django_assert_num_queries(1) as captured:
        primary_key = Delivery.objects.record(envelope_of(body))
    assert primary_key is not None
    assert Delivery.objects.get(pk=primary_key).state == State.RECEIVED
    assert captured[0]["sql"].startswith("INSERT")


@pytest.mark.django_db(transaction=True)
def test_record__counts_a_known_one_with_two_statements(body, django_assert_num_queries):
    Delivery.objects.record(envelope_of(body))
    with django_assert_num_queries(2):
        assert Delivery.objects.record(envelope_of(body)) is None
    assert Delivery.objects.get().repeats == 1


def test_record__leaves_an_outer_transaction_usable(db, body):
    Delivery.objects.record(envelope_of(body))
    assert Delivery.objects.record(envelope_of(body)) is None
    with pytest.raises(DeliveryConflict):
        Delivery.objects.record(envelope_of(body + b" "))
    assert Delivery.objects.get().repeats == 1


def test_record__tells_another_broken_rule_from_a_known_id(db, body, monkeypatch):
    nonsense = {**Delivery.columns_of(envelope_of(body)), "state": "nonsense"}
    monkeypatch.setattr(Delivery, "columns_of", lambda _envelope: nonsense)
    with pytest.raises((IntegrityError, OperationalError)):  # MariaDB says the latter
        Delivery.objects.record(envelope_of(body))


@pytest.mark.django_db(transaction=True)
def test_record__makes_one_row_of_many_at_once(body):
    start = threading.Barrier(8)

    def record(_):
        try:
            start.wait()
            return Delivery.objects.record(envelope_of(body)) is None
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        answers = Counter(pool.map(record, range(8)))
    assert answers == {True: 7, False: 1}
    assert Delivery.objects.get().repeats == 7


@pytest.mark.django_db(transaction=True)
def test_claim__gives_a_delivery_to_one_of_many_at_once(delivery):
    start = threading.Barrier(8)

    def claim(_):
        try:
            start.wait()
            return Delivery.objects.claim(delivery.pk) is not None
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        answers = Counter(pool.map(claim, range(8)))
    assert answers == {True: 1, False: 7}


@pytest.mark.django_db(transaction=True)
def test_claim__knows_a_replay_that_was_committed_while_it_waited(delivery, connect):
    if connection.vendor != "postgresql":
        pytest.skip("only PostgreSQL reads a row anew that it has waited for, and nothing else")
    connect()

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            replay = opened_again(receivers="all", reason="a reason")
            claiming = waiting_elsewhere(pool, Delivery.objects.claim, delivery.pk)
        taken = claiming.result()
    assert taken is not None
    assert taken.replay == replay
    assert taken.replay.reason == "a reason"


@pytest.mark.django_db(transaction=True)
def test_claim__alone_need_not_wait_for_the_disk(delivery):
    if connection.vendor != "postgresql":
        pytest.skip("only PostgreSQL decides by transaction whether it waits for the disk")

    def waiting():
        with connection.cursor() as cursor:
            cursor.execute("SHOW synchronous_commit")
            return cursor.fetchone()[0]

    before = waiting()
    with CaptureQueriesContext(connection) as captured:
        taken = claimed(delivery)
        assert waiting() == before
        taken.succeed()
    claim, _show, end = [query["sql"] for query in captured]
    assert "set_config('synchronous_commit', 'off', true)" in claim
    assert "synchronous_commit" not in end


@pytest.mark.django_db(transaction=True)
def test_claim__leaves_the_transaction_of_somebody_else_as_it_is(delivery):
    with transaction.atomic(), CaptureQueriesContext(connection) as captured:
        claimed(delivery)
    assert not [query for query in captured if "synchronous_commit" in query["sql"]]


def test_claim__leases_and_counts_the_attempt(delivery, webhook_setting):
    webhook_setting(LEASE=timedelta(minutes=7))
    taken = claimed(delivery)
    assert taken.state == State.PROCESSING
    assert taken.attempts == 1
    assert taken.lease_expires_at is not None
    left = taken.lease_expires_at - timezone.now()
    assert timedelta(minutes=6) < left <= timedelta(minutes=7)


@pytest.mark.parametrize("state", [State.SUCCEEDED, State.DEAD, State.UNHANDLED])
def test_claim__leaves_a_settled_one(delivery, state):
    Delivery.objects.update(state=state)
    assert Delivery.objects.claim(delivery.pk) is None


def test_claim__waits_until_a_failed_one_is_due(delivery):
    claimed(delivery).fail(next_attempt_at=timezone.now() + LATER)
    assert Delivery.objects.claim(delivery.pk) is None
    Delivery.objects.update(next_attempt_at=timezone.now())
    assert claimed(delivery).attempts == 2


def test_claim__takes_a_received_one_whatever_the_clocks_say(delivery):
    Delivery.objects.update(next_attempt_at=timezone.now() + LATER)
    assert claimed(delivery).attempts == 1


def test_expect_at__changes_nothing_once_a_replay_was_asked_for(delivery):
    left = claimed(delivery)
    left.fail(next_attempt_at=timezone.now())
    Delivery.objects.all().reopen(Replay.objects.create(requested_by="somebody"))
    left.expect_at(timezone.now() + LATER)
    handed_over_at = Delivery.objects.get().handed_over_at
    assert handed_over_at is not None
    assert handed_over_at <= timezone.now()


def test_claim__takes_over_when_a_lease_has_run_out(delivery):
    first = claimed(delivery)
    assert Delivery.objects.claim(delivery.pk) is None
    lose_lease(first)
    second = claimed(delivery)
    assert second.lease_token != first.lease_token
    assert second.attempts == 2


def test_claim__leaves_a_lease_that_is_renewed_at_the_last_moment(delivery):
    first = claimed(delivery)
    lose_lease(first)
    statements = []

    def renew_before_the_take_over(execute, sql, params, many, context):
        statements.append(sql.split()[0])
        if statements == ["UPDATE", "SELECT", "UPDATE"]:
            first.renew_lease()
        return execute(sql, params, many, context)

    with connection.execute_wrapper(renew_before_the_take_over):
        assert Delivery.objects.claim(delivery.pk) is None
    assert Delivery.objects.get().lease_token == first.lease_token


@pytest.mark.parametrize("verb", ["succeed", "go_unhandled", "die", "renew_lease"])
def test_verbs__refuse_whose_lease_is_lost(delivery, verb):
    first = claimed(delivery)
    lose_lease(first)
    claimed(delivery)
    with pytest.raises(LeaseLost):
        getattr(first, verb)()
    assert Delivery.objects.get().state == State.PROCESSING


@pytest.mark.parametrize("verb", ["succeed", "go_unhandled", "die", "renew_lease"])
def test_verbs__refuse_a_second_time(delivery, verb):
    first = claimed(delivery)
    first.succeed()
    with pytest.raises(LeaseLost):
        getattr(first, verb)()
    assert Delivery.objects.get().state == State.SUCCEEDED


@pytest.mark.parametrize(
    ("verb", "state"),
    [("succeed", State.SUCCEEDED), ("go_unhandled", State.UNHANDLED), ("die", State.DEAD)],
)
def test_verbs__settle(delivery, verb, state):
    taken = claimed(delivery)
    getattr(taken, verb)()
    stored = Delivery.objects.get()
    assert stored.state == taken.state == state
    assert stored.settled_at is not None
    assert stored.lease_token is None
    assert stored.next_attempt_at is None


def test_fail__waits_for_the_next_attempt(delivery):
    moment = timezone.now() + LATER
    claimed(delivery).fail(next_attempt_at=moment)
    stored = Delivery.objects.get()
    assert (stored.state, stored.next_attempt_at) == (State.FAILED, moment)
    assert stored.settled_at is None


def test_renew_lease__moves_its_end(delivery, webhook_setting):
    taken = claimed(delivery)
    webhook_setting(LEASE=LATER)
    before = taken.lease_expires_at
    taken.renew_lease()
    assert before is not None
    assert taken.lease_expires_at is not None
    assert taken.lease_expires_at > before
    assert Delivery.objects.get().lease_expires_at == taken.lease_expires_at


def test_reopen__leaves_one_that_is_being_run(delivery, body):
    other = recorded(body)
    claimed(delivery)
    replay = Replay.objects.create(requested_by="somebody")
    assert Delivery.objects.all().reopen(replay) == 1
    assert Delivery.objects.get(replay=replay) == other


def test_reopen__takes_one_whose_lease_has_run_out(delivery):
    first = claimed(delivery)
    lose_lease(first)
    assert Delivery.objects.all().reopen(Replay.objects.create(requested_by="somebody")) == 1
    with pytest.raises(LeaseLost):
        first.succeed()


@pytest.mark.parametrize(
    ("state", "is_open", "is_open_to_some"),
    [
        ("succeeded", True, True),
        ("dead", True, True),
        ("unhandled", True, True),
        ("failed", True, False),
        ("received", True, False),
    ],
)
def test_replayable__to_some_receivers_only_what_is_settled(
    delivery, state, is_open, is_open_to_some
):
    now = timezone.now()
    Delivery.objects.update(state=state)
    assert Delivery.objects.replayable(now).exists() is is_open
    assert Delivery.objects.replayable(now, only_settled=True).exists() is is_open_to_some
    Delivery.objects.update(body_pruned_at=now)
    assert not Delivery.objects.replayable(now).exists()


def test_arrivals__are_the_first_and_the_repeats(delivery, body):
    again = envelope_of(body, delivery.delivery_id)
    again = replace(again, hook_id="another", verified_by="HOOKS['another'].SECRETS[0]")
    Delivery.objects.record(again)
    stored = Delivery.objects.get()
    assert stored.arrivals == [
        Arrival(delivery.received_at, delivery.hook_id, "SECRETS[0]"),
        Arrival(again.received_at, "another", "HOOKS['another'].SECRETS[0]"),
    ]


def test_arrivals__are_kept_of_so_many_repeats_only(delivery, body):
    Delivery.objects.update(repeats=MAX_LOGGED_REPEATS - 1)
    for _ in range(3):
        Delivery.objects.record(envelope_of(body, delivery.delivery_id))
    stored = Delivery.objects.get()
    assert stored.repeats == MAX_LOGGED_REPEATS + 2
    assert len(stored.arrivals) == 2


def fail(delivery: Delivery, error: Exception, number: int = 1) -> ReceiverRun:
    run = ReceiverRun(
        delivery=delivery,
        receiver="app.receive",
        number=number,
        attempt=1,
        trigger="first",
        started_at=timezone.now(),
    )
    try:
        raise error
    except ValueError as raised:
        run.fail(raised)
    return run


def test_failure_group__is_of_receiver_exception_and_place(delivery, body):
    other = recorded(body)
    run, same = (fail(row, ValueError(text)) for row, text in ((delivery, "a"), (other, "b")))
    assert run.failure.startswith(f"app.receive: ValueError at {__file__}:")
    assert run.failure_group == same.failure_group != ""
    same.receiver = "app.other"
    same.lose()
    assert same.failure == "app.other: worker lost at " + run.place
    assert same.failure_group != run.failure_group
    assert ReceiverRun.objects.failures().count() == 3


def test_failing_with__finds_what_was_not_mended_since(delivery, body):
    other = recorded(body)
    group = fail(delivery, ValueError()).failure_group
    fail(other, ValueError())
    assert set(Delivery.objects.failing_with(group)) == {delivery, other}
    mended = ReceiverRun.objects.get(delivery=other)
    mended.number, mended.failure_group = 2, ""
    mended.succeed()
    assert list(Delivery.objects.failing_with(group)) == [delivery]
    assert not Delivery.objects.failing_with("").exists()


def test_heartbeat__keeps_the_last(db):
    Heartbeat.objects.beat("sweep")
    first = Heartbeat.objects.get().beat_at
    Heartbeat.objects.beat("sweep")
    assert Heartbeat.objects.get(name="sweep").beat_at > first


@pytest.fixture
def replay(db) -> Replay:
    return Replay.objects.create(requested_by="somebody", selected=5)


@pytest.mark.parametrize(
    ("verb", "begins", "ends"),
    [
        ("pause", {"running"}, "paused"),
        ("resume", {"paused"}, "running"),
        ("cancel", {"running", "paused"}, "cancelled"),
        ("finish", {"running"}, "finished"),
    ],
)
def test_replay__changes_only_from_where_it_may(replay, verb, begins, ends):
    for state in Replay.State:
        Replay.objects.update(state=state)
        assert getattr(Replay.objects.get(), verb)() is (state in begins)
        assert Replay.objects.get().state == (ends if state in begins else state)


def test_replay__is_moved_on_by_one_process_only(replay):
    twin = Replay.objects.get()
    now = timezone.now()
    assert replay.move(7, accepted=2, skipped=1, next_batch_at=now) is True
    assert twin.move(7, accepted=2, skipped=1, next_batch_at=now) is False
    stored = Replay.objects.get()
    assert (stored.cursor, stored.looked_at, stored.left) == (7, 3, 2)
    stored.pause()
    assert replay.move(9, accepted=1, skipped=0, next_batch_at=now) is False


@pytest.mark.parametrize(
    "changes",
    [
        {"state": "nonsense"},
        {"state": "processing"},
        {"state": "received", "lease_token": uuid.uuid4()},
    ],
)
def test_constraints__hold_in_the_database(delivery, changes):
    with pytest.raises(IntegrityError), transaction.atomic():
        Delivery.objects.filter(pk=delivery.pk).update(**changes)


def test_without_body__loads_no_bytes(delivery):
    with CaptureQueriesContext(connection) as captured:
        list(Delivery.objects.without_body())
    assert '"body"' not in captured[0]["sql"]
    assert '"headers"' not in captured[0]["sql"]
    assert '"repeat_log"' not in captured[0]["sql"]


def test_str__names_each_row(delivery):
    run = ReceiverRun(receiver="app.receiver", number=2, outcome="failed")
    replay = Replay(pk=3, requested_by="somebody")
    rejection = Rejection(reason="conflict", received_at=delivery.received_at)
    assert str(delivery) == f"bundle:finished {delivery.delivery_id}"
    assert str(run) == "app.receiver #2 failed"
    assert str(replay) == "replay 3 by somebody"
    assert str(rejection).startswith("Same id, other body at ")


class NoMessage(Exception):
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (ValueError("a\x00b\ud83d"), "ValueError: a\ufffdb\ufffd"),
        (ValueError("x" * 1000), "ValueError: " + "x" * 487 + "…"),
        (NoMessage(), "NoMessage: <its message raised RuntimeError>"),
    ],
    ids=["unfit", "long", "no-message"],
)
def test_describe__makes_any_exception_storable(delivery, error, shown):
    run = ReceiverRun(
        delivery=delivery,
        receiver="r",
        number=1,
        attempt=1,
        trigger="first",
        started_at=timezone.now(),
    )
    run.fail(error)
    stored = ReceiverRun.objects.get()
    assert stored.exception == shown
    assert stored.outcome == "failed"


def keep(body: bytes = b"x", verified_by: str = "") -> Rejection:
    kept = Rejection.objects.keep(WrongSignature("No."), {}, body, verified_by)
    assert kept is not None
    return kept


def test_keep__cuts_the_body_of_a_stranger(db):
    large = b"x" * (MAX_UNVERIFIED_BODY_BYTES + 1)
    assert len(keep(large).body) == MAX_UNVERIFIED_BODY_BYTES
    assert len(keep(large, "unsigned").body) == MAX_UNVERIFIED_BODY_BYTES
    assert len(keep(large, "SECRETS[0]").body) == len(large)
    assert {rejection.body_size for rejection in Rejection.objects.all()} == {len(large)}


def test_keep__keeps_no_more_of_strangers_than_the_setting_says(db, webhook_setting, monkeypatch):
    webhook_setting(KEEP_REJECTIONS=10)
    signed = keep(verified_by="SECRETS[0]")
    monkeypatch.setattr(rejections, "strangers", Rate(burst=150, per_second=0))
    newest = [keep() for _ in range(150)][-1]
    of_anyone = Rejection.objects.of_anyone()
    assert of_anyone.count() < 10 + 50
    assert newest in of_anyone
    assert signed in Rejection.objects.all()


def test_keep__keeps_no_more_of_a_body_that_comes_again_and_again(db, webhook_setting, monkeypatch):
    webhook_setting(KEEP_REJECTIONS=10)
    monkeypatch.setattr(rejections, "strangers", Rate(burst=150, per_second=0))
    large = b"x" * (MAX_UNVERIFIED_BODY_BYTES + 1)
    kept = [Rejection.objects.keep(SameBody("No."), {}, large, "SECRETS[0]") for _ in range(151)]
    assert kept[-1] is None
    assert Rejection.objects.count() < 10 + 50
    assert {len(one.body) for one in Rejection.objects.all()} == {MAX_UNVERIFIED_BODY_BYTES}


@pytest.mark.django_db
def test_record__tells_ids_apart_by_each_letter(body):
    told_apart = ["one", "One", "one ", "öne", "one🔑", "one🔒"]
    for key in told_apart:
        assert Delivery.objects.record(replace(envelope_of(body), delivery_id=key)) is not None
    for key in told_apart:
        assert Delivery.objects.get(delivery_id=key).delivery_id == key


@pytest.mark.django_db
def test_tables__compare_text_by_each_letter():
    if connection.vendor != "mysql":
        pytest.skip("only MySQL and MariaDB take letters for the same by default")
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT table_name, column_name, collation_name FROM information_schema.columns "
            "WHERE table_schema = DATABASE() AND LEFT(table_name, 17) = 'perfsee_webhooks_' "
            "AND collation_name NOT IN ('utf8mb4_nopad_bin', 'utf8mb4_0900_bin')"
        )
        assert cursor.fetchall() == ()


@pytest.mark.django_db
def test_sharing_body_with__finds_other_ids_with_the_same_body(body):
    for key in "abc":
        Delivery.objects.record(envelope_of(body, delivery_id=key))
    Delivery.objects.record(envelope_of(body + b" ", delivery_id="d"))
    found = Delivery.objects.sharing_body_with(envelope_of(body, delivery_id="b"))
    assert [one.delivery_id for one in found] == ["a", "c"]


def test_keep__raises_where_the_database_does_not_take_it(db):
    def refuse(*args):
        raise DatabaseError

    with connection.execute_wrapper(refuse), pytest.raises(DatabaseError):
        keep()


@pytest.mark.django_db
def test_record__the_very_same_request_is_no_repeat(body):
    """Nobody knows whether a commit that broke off was done: the request is stored once more."""
    headers = perfsee_headers(body, SECRET, delivery_id="one")
    envelope = Envelope.read(body, headers, "SECRETS[0]")
    first = Delivery.objects.record(envelope)
    assert Delivery.objects.record(envelope) == first
    assert Delivery.objects.get().repeats == 0
    later = replace(envelope, received_at=envelope.received_at + timedelta(microseconds=1))
    assert Delivery.objects.record(later) is None
    assert Delivery.objects.get().repeats == 1

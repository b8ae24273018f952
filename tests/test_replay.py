"""Replays: which deliveries, to whom, what it would do, and how it is carried out."""

from __future__ import annotations

import inspect
import json
import re
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.contrib.admin import site as admin_site
from django.db import DatabaseError, connection, connections, transaction
from django.http import HttpResponse
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from perfsee_webhooks import events, replay, tasks
from perfsee_webhooks.envelope import Envelope
from perfsee_webhooks.exceptions import RetryLater
from perfsee_webhooks.models import Delivery, ReceiverRun, Replay
from perfsee_webhooks.processing import process
from perfsee_webhooks.replay import MAX_LOOKED_AT, Order, Selection, carrying
from perfsee_webhooks.replay import order as ordering
from perfsee_webhooks.samples import sample_body
from perfsee_webhooks.selection import MAX_PRIMARY_KEYS
from perfsee_webhooks.sending import perfsee_headers
from perfsee_webhooks.signals import bundle_finished, delivery_failed
from perfsee_webhooks.sweep import sweep

from .locks import elsewhere, waiting_elsewhere
from .replays import opened_again
from .sites import SECRET

pytestmark = pytest.mark.django_db

NOW = timezone.now()
HOUR = timedelta(hours=1)


def store(sample=events.BUNDLE_FINISHED, **columns):
    """Store a delivery of a sample event, and change columns of its row."""
    body = sample_body(sample)
    primary_key = Delivery.objects.record(
        Envelope.read(body, perfsee_headers(body, SECRET), "SECRETS[0]")
    )
    assert primary_key is not None
    Delivery.objects.filter(pk=primary_key).update(**columns)
    return Delivery.objects.get(pk=primary_key)


def dead(number):
    """Store so many dead deliveries, oldest first."""
    Delivery.objects.bulk_create(
        (
            Delivery(
                delivery_id=str(uuid.uuid4()),
                event_type=events.BUNDLE_FINISHED,
                body=sample_body(events.BUNDLE_FINISHED),
                received_at=NOW,
                state="dead",
            )
            for _ in range(number)
        ),
        batch_size=1000,
    )
    return list(Delivery.objects.order_by("pk"))


def lease(delivery, expires_in=HOUR):
    Delivery.objects.filter(pk=delivery.pk).update(
        state="processing", lease_token=uuid.uuid4(), lease_expires_at=timezone.now() + expires_in
    )


def started(selection=None, **order):
    return replay.start(selection or Selection(), Order(**order), requested_by="somebody")


def fresh(row):
    row.refresh_from_db()
    return row


# Which deliveries


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({}, {"bundle", "lab", "source", "other"}),
        ({"event": "bundle:finished"}, {"bundle"}),
        ({"event": "bundle-finished"}, {"bundle"}),
        ({"event": "lab:*, source:finished"}, {"lab", "source"}),
        ({"event": "*"}, {"bundle", "lab", "source", "other"}),
        ({"event": "a.b+c"}, {"other"}),
        ({"event": "aXb+c"}, set()),
        ({"other_events": True}, {"other"}),
        ({"project": "elsewhere"}, {"lab"}),
        ({"hook": "hook-7"}, {"source"}),
        ({"states": ("dead", "failed")}, {"lab", "source"}),
        ({"received_from": NOW - 2 * HOUR}, {"bundle", "source", "other"}),
        ({"received_before": NOW - 2 * HOUR}, {"lab"}),
        ({"received_from": NOW - 3 * HOUR, "received_before": NOW - 2 * HOUR}, {"lab"}),
        ({"search": "elsewhere"}, {"lab"}),
        ({"search": "hook-7 perf"}, {"source"}),
        ({"search": "hook-7 elsewhere"}, set()),
        ({"project": "elsewhere", "states": ("failed",)}, set()),
    ],
)
def test_selection__finds_what_all_of_it_holds_for(given, found):
    rows = {
        "bundle": store(state="succeeded"),
        "lab": store(
            events.LAB_SNAPSHOT_COMPLETED,
            project="elsewhere",
            state="dead",
            received_at=NOW - 3 * HOUR,
        ),
        "source": store(events.SOURCE_FINISHED, hook_id="hook-7", state="failed"),
        "other": store(event_type="a.b+c"),
    }
    names = {row.pk: name for name, row in rows.items()}
    assert {names[row.pk] for row in Selection(**given).deliveries()} == found


def test_selection__by_keys_replay_and_failure_group(connect):
    connect(side_effect=ValueError)
    failing, other = store(), store()
    process(failing.pk)
    group = ReceiverRun.objects.get().failure_group
    assert list(Selection(failure_group=group).deliveries()) == [failing]
    assert list(Selection(primary_keys=(other.pk,)).deliveries()) == [other]
    assert list(Selection(primary_keys=()).deliveries()) == []
    earlier = opened_again(Selection(primary_keys=(other.pk,)))
    assert list(Selection(replay=earlier.pk).deliveries()) == [other]


def test_selection__searches_as_the_list_does(rf, admin_user):
    store(project="web shop", branch="main/x")
    store(project="shop")
    request = rf.get("/")
    request.user = admin_user
    model_admin = admin_site._registry[Delivery]
    for text in (
        '"web shop"',
        "'web shop' main",
        '"web main"',
        "web",
        "web main",
        "SHOP",
        "shop",
        "main/",
        "nothing",
        "  ",
        "web\tshop",
    ):
        listed, _ = model_admin.get_search_results(request, Delivery.objects.all(), text)
        assert set(Selection(search=text).deliveries()) == set(listed), text


def test_selection__is_the_same_after_it_was_kept():
    selection = Selection(
        primary_keys=(1, 2),
        event="bundle:*",
        other_events=True,
        states=("dead",),
        received_from=NOW,
        received_before=NOW + HOUR,
        failure_group="abc",
        replay=3,
        search="main",
    )
    kept = json.loads(json.dumps(selection.as_json()))
    assert Selection.from_json(kept) == selection
    assert Selection.from_json({}) == Selection()
    assert Selection(primary_keys=()).as_json() == {"primary_keys": []}
    assert Selection.from_json({"primary_keys": []}).primary_keys == ()


def test_selection__says_in_words_what_it_is():
    assert Selection().described == ["every delivery"]
    assert Selection(primary_keys=()).described == ["0 chosen one by one"]
    assert Selection(event="lab:*", states=("dead", "failed"), search="x").described == [
        "event lab:*",
        "state dead or failed",
        "found by “x”",
    ]


@pytest.mark.parametrize(
    "given", [{"event": " , "}, {"primary_keys": tuple(range(MAX_PRIMARY_KEYS + 1))}]
)
def test_selection__refuses_what_cannot_be_looked_for(given):
    with pytest.raises(ValueError, match=r"names no event|At most 1000 deliveries"):
        Selection(**given)


# To whom, and how fast


@pytest.mark.parametrize("name", ["limit", "batch_size", "per_minute"])
def test_order__takes_only_numbers_from_1(name):
    order: dict[str, Any] = {name: 0}
    with pytest.raises(ValueError, match=f"{name} has to be 1 or more"):
        Order(**order)


def test_order__names_the_nearest_of_the_receivers(connect):
    connect(name="announce")
    connect(bundle_finished, name="keep_score")
    assert Order(only=("tests.announce", "tests.keep_score")).only[0] == "tests.announce"
    with pytest.raises(replay.UnknownReceiver, match=r"Did you mean tests\.keep_score\?"):
        Order(only=("tests.keep_scores",))
    with pytest.raises(replay.UnknownReceiver, match=r"No receiver called zzz is connected\.$"):
        Order(only=("zzz",))


# The plan


@pytest.fixture
def history(connect, webhook_setting):
    """Three dead bundles and a lab snapshot; `good` and `gone` succeeded, `bad` failed."""
    webhook_setting(MAX_ATTEMPTS=1)
    connect(name="good")
    bad = connect(bundle_finished, name="bad", side_effect=ValueError)
    gone = connect(bundle_finished, name="gone")
    rows = [store(), store(), store(), store(events.LAB_SNAPSHOT_COMPLETED)]
    for row in rows:
        process(row.pk)
    bundle_finished.disconnect(gone)
    bad.side_effect = None
    return rows


def runs_of(planned):
    return {receiver.label: (receiver.runs, receiver.again) for receiver in planned.receivers}


def test_plan__counts_the_receivers_that_have_not_succeeded(history):
    planned = replay.plan(Selection())
    assert (planned.matching, planned.selected, planned.opened) == (4, 4, 4)
    assert runs_of(planned) == {"tests.bad": (3, 0), "tests.good": (0, 0)}
    assert planned.gone == [("tests.gone", 3)]
    assert (planned.runs, planned.again) == (3, 0)
    assert planned.first == history


def test_plan__counts_what_would_run_again_after_success(history):
    planned = replay.plan(Selection(), Order(receivers=Replay.Receivers.ALL))
    assert runs_of(planned) == {"tests.good": (4, 4), "tests.bad": (3, 0)}
    assert (planned.runs, planned.again) == (7, 4)


def test_plan__counts_a_new_receiver_on_all_that_came_before_it(history, connect):
    connect(name="new")
    planned = replay.plan(Selection(), Order(only=("tests.new",)))
    assert runs_of(planned) == {"tests.new": (4, 0)}


def test_plan__is_what_then_happens(history, connect, webhook_setting):
    connect(name="new")
    for order in (
        Order(),
        Order(receivers=Replay.Receivers.ALL),
        Order(only=("tests.new", "tests.bad"), receivers=Replay.Receivers.ALL),
        Order(only=("tests.new",)),
    ):
        planned = replay.plan(Selection(), order)
        asked = replay.start(Selection(), order, requested_by="somebody")
        replay.carry_out(asked.pk, until=timezone.now() + HOUR)
        runs = ReceiverRun.objects.filter(replay=asked)
        counted = {label: runs.filter(receiver=label).count() for label in runs_of(planned)}
        assert counted == {receiver.label: receiver.runs for receiver in planned.receivers}
        assert fresh(asked).accepted == planned.opened


def test_plan__says_what_is_left_alone_and_why(history, connect):
    pruned, running, waiting, _settled = history
    Delivery.objects.filter(pk=pruned.pk).update(body_pruned_at=NOW)
    Delivery.objects.filter(pk=waiting.pk).update(state="failed")
    lease(running)
    planned = replay.plan(Selection())
    assert (planned.opened, planned.pruned, planned.running, planned.waiting) == (2, 1, 1, 0)
    planned = replay.plan(Selection(), Order(only=("tests.bad",)))
    assert (planned.opened, planned.pruned, planned.running, planned.waiting) == (1, 1, 1, 1)
    asked = opened_again(only=("tests.bad",))
    assert (asked.accepted, asked.skipped) == (1, 3)


def test_plan__takes_the_oldest_within_the_limit(history):
    planned = replay.plan(Selection(), Order(limit=2))
    assert (planned.matching, planned.selected, planned.left_out) == (4, 2, 2)
    assert planned.first == history[:2]
    assert runs_of(planned) == {"tests.bad": (2, 0), "tests.good": (0, 0)}
    assert replay.plan(Selection(), Order(limit=9)).left_out == 0


def test_plan__of_many_looks_at_the_first_of_them(connect):
    connect()
    rows = dead(MAX_LOOKED_AT + 1)
    planned = replay.plan(Selection())
    assert (planned.matching, planned.selected) == (MAX_LOOKED_AT + 1, MAX_LOOKED_AT + 1)
    assert (planned.looked_at, planned.opened, planned.runs) == (MAX_LOOKED_AT,) * 3
    assert (planned.running, planned.ceiling) == (0, rows[-1].pk)
    assert started().selected == MAX_LOOKED_AT + 1


def test_plan__of_more_than_are_counted(connect, monkeypatch):
    connect()
    monkeypatch.setattr(ordering, "MAX_COUNTED", 3)
    rows = [row.pk for row in dead(5)]
    store(state="succeeded")
    dead_ones = Selection(states=("dead",))
    for limit, matching, selected, ceiling in (
        (None, 4, 4, rows[4]),
        (9, 4, 4, rows[4]),
        (4, 4, 4, rows[3]),
        (3, 4, 3, rows[2]),
    ):
        planned = replay.plan(dead_ones, Order(limit=limit))
        assert (planned.matching, planned.selected) == (matching, selected)
        assert planned.ceiling == ceiling
    assert replay.plan(Selection(states=("dead",), up_to=rows[3])).ceiling == rows[3]
    assert replay.plan(Selection(states=("dead",), up_to=rows[2])).selected == 3


def test_plan__of_nothing(connect):
    connect()
    planned = replay.plan(Selection())
    assert (planned.selected, planned.opened, planned.runs, planned.first) == (0, 0, 0, [])


def test_plan__executes_the_same_few_statements_for_any_number(history):
    counts = []
    for _ in range(2):
        with CaptureQueriesContext(connection) as captured:
            replay.plan(Selection())
        assert not any('"body"' in query["sql"] for query in captured.captured_queries)
        counts.append(len(captured))
        dead(30)
    assert counts == [6, 6]


# Carrying it out


def test_start__records_who_why_and_what(connect):
    connect()
    dead(3)
    asked = replay.start(
        Selection(states=("dead",)),
        Order(only=("tests.receiver",), batch_size=2, per_minute=60),
        requested_by="some\x00body",
        reason="mended\nthe receiver",
    )
    kept = Replay.objects.get()
    assert kept == asked
    assert (kept.requested_by, kept.reason) == ("some�body", "mended�the receiver")
    assert (kept.selected, kept.only, kept.batch_size) == (3, ["tests.receiver"], 2)
    assert (kept.per_minute, kept.selection) == (60, {"states": ["dead"]})
    assert (kept.accepted, kept.state) == (0, "running")
    assert not Delivery.objects.exclude(replay=None).exists()


def test_start__leaves_many_to_be_counted_by_the_first_batch(nothing_runs, monkeypatch):
    monkeypatch.setattr(ordering, "MAX_COUNTED", 3)
    rows = [row.pk for row in dead(5)]
    store(state="succeeded")
    asked = started(Selection(states=("dead",)), batch_size=2)
    assert (asked.selected, asked.left, asked.of_how_many) == (None, None, "more than 10,000")
    assert replay.total_of(asked) == 5
    assert replay.open_batch(asked.pk) == rows[:2]
    asked = fresh(asked)
    assert (asked.selected, asked.left, asked.of_how_many) == (5, 3, "5")
    dead(1)
    assert replay.total_of(asked) == 5, "it has been counted"
    assert [replay.open_batch(asked.pk) for _ in range(3)] == [rows[2:4], rows[4:], None]


@pytest.mark.parametrize("limit", [None, 6])
def test_start__of_many_reaches_no_further_than_what_was_found(nothing_runs, monkeypatch, limit):
    monkeypatch.setattr(ordering, "MAX_COUNTED", 3)
    rows = [row.pk for row in dead(5)]
    late = store(state="failed")
    asked = started(Selection(states=("dead",)), limit=limit)
    Delivery.objects.filter(pk=late.pk).update(state="dead")
    assert asked.ceiling == rows[-1]
    assert replay.open_batch(asked.pk) == rows


@pytest.mark.django_db(transaction=True)
def test_open_batch__counts_many_before_it_locks_anything(nothing_runs, monkeypatch):
    monkeypatch.setattr(ordering, "MAX_COUNTED", 3)
    dead(5)
    asked = started(batch_size=2)
    counts: list[bool] = []

    def look(execute, sql, params, many, context):
        if "COUNT(" in sql:
            counts.append(connection.in_atomic_block)
        return execute(sql, params, many, context)

    with connection.execute_wrapper(look):
        replay.open_batch(asked.pk)
        replay.open_batch(asked.pk)
    assert counts == [False]


def test_start__counts_many_within_its_limit(nothing_runs, monkeypatch):
    monkeypatch.setattr(ordering, "MAX_COUNTED", 3)
    rows = [row.pk for row in dead(5)]
    asked = started(limit=4)
    assert asked.selected is None
    assert replay.open_batch(asked.pk) == rows[:4]
    assert (fresh(asked).selected, fresh(asked).state) == (4, "finished")


def test_open_batch__goes_through_all_once_in_order(nothing_runs):
    rows = [row.pk for row in dead(5)]
    asked = started(batch_size=2)
    opened = [replay.open_batch(asked.pk) for _ in range(5)]
    assert opened == [rows[:2], rows[2:4], rows[4:], None, None]
    asked = fresh(asked)
    assert (asked.state, asked.accepted, asked.skipped, asked.left) == ("finished", 5, 0, 0)
    assert asked.ended_at is not None
    waiting = Delivery.objects.filter(replay=asked, state="received", attempts=0, settled_at=None)
    assert waiting.count() == 5


def test_open_batch__leaves_alone_what_is_being_run_or_has_no_bytes(nothing_runs):
    running, pruned, free, abandoned = dead(4)
    lease(running)
    lease(abandoned, expires_in=-HOUR)
    Delivery.objects.filter(pk=pruned.pk).update(body_pruned_at=NOW)
    asked = started(batch_size=2)
    assert replay.open_batch(asked.pk) == []
    assert replay.open_batch(asked.pk) == [free.pk, abandoned.pk]
    asked = fresh(asked)
    assert (asked.accepted, asked.skipped, asked.state) == (2, 2, "finished")
    assert fresh(running).state == "processing"


def claim(row, _other):
    assert Delivery.objects.claim(row.pk) is not None


def open_for_all(_row, other):
    assert replay.open_batch(other.pk)


def prune(row, _other):
    Delivery.objects.filter(pk=row.pk).update(body=b"", body_pruned_at=NOW)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("happens", [claim, open_for_all, prune])
def test_open_batch__leaves_alone_what_is_taken_while_it_waits(connect, happens):
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has one writer, for whom nobody waits in the middle of a statement")
    row = store()
    asked, other = started(), started(receivers=Replay.Receivers.ALL)

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            happens(row, other)
            as_it_was = fresh(row)
            opening = waiting_elsewhere(pool, replay.open_batch, asked.pk)
        assert opening.result() == []
    assert (
        vars(fresh(row)).items()
        >= {
            name: getattr(as_it_was, name) for name in ("state", "replay_id", "lease_token")
        }.items()
    )
    asked.refresh_from_db()
    assert (asked.accepted, asked.skipped) == (0, 1)


@pytest.mark.django_db(transaction=True)
def test_open_batch__leaves_out_what_has_left_its_selection_while_it_waits(nothing_runs):
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has one writer, for whom nobody waits in the middle of a statement")
    first, second = dead(2)
    asked = started(Selection(states=("dead",)), receivers=Replay.Receivers.ALL)
    with ThreadPoolExecutor(2) as pool:
        with transaction.atomic():
            list(Delivery.objects.select_for_update().filter(pk=first.pk))
            opening = waiting_elsewhere(pool, replay.open_batch, asked.pk)
            another = Delivery.objects.filter(pk=second.pk)
            pool.submit(elsewhere, another.update, state="succeeded").result(30)
        assert opening.result() == [first.pk]
    assert fresh(second).state == "succeeded"


@pytest.mark.django_db(transaction=True)
def test_open_batch__does_not_wait_for_what_is_being_run(nothing_runs):
    """Its receiver could not settle it, which MySQL would see as a deadlock."""
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has one writer, for whom nobody waits in the middle of a statement")
    running, free = dead(2)
    lease(running)
    asked = started()
    with ThreadPoolExecutor(1) as pool, transaction.atomic():
        list(Delivery.objects.select_for_update().filter(pk=running.pk))
        assert pool.submit(elsewhere, replay.open_batch, asked.pk).result(30) == [free.pk]


@pytest.mark.django_db(transaction=True)
def test_open_batch__takes_no_lease_that_runs_out_while_it_waits(nothing_runs):
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has one writer, for whom nobody waits in the middle of a statement")
    running, locked = dead(2)
    moment = timezone.now()
    lease(running)
    asked = started()
    with ThreadPoolExecutor(2) as pool:
        with transaction.atomic():
            list(Delivery.objects.select_for_update().filter(pk=locked.pk))
            opening = waiting_elsewhere(pool, replay.open_batch, asked.pk)
            now = timezone.now()
            assert now > moment
            another = Delivery.objects.filter(pk=running.pk)
            pool.submit(elsewhere, another.update, lease_expires_at=now).result(30)
        assert opening.result() == [locked.pk]


def test_plan__says_of_what_a_wider_replay_has_whether_it_is_run_or_waits(connect):
    connect()
    running, abandoned = store(), store()
    opened_again(receivers=Replay.Receivers.ALL)
    lease(running)
    lease(abandoned, expires_in=-HOUR)
    planned = replay.plan(Selection())
    assert (planned.running, planned.waiting, planned.opened) == (1, 1, 0)


def test_open_batch__leaves_to_the_other_what_was_abandoned_by_a_replay_that_asks_for_more(connect):
    receiver = connect()
    row = store()
    process(row.pk)
    wide = opened_again(receivers=Replay.Receivers.ALL)
    lease(row, expires_in=-HOUR)
    narrow = opened_again()
    assert (narrow.accepted, narrow.skipped) == (0, 1)
    process(row.pk)
    assert (receiver.call_count, fresh(row).replay) == (2, wide)


def test_open_batch__leaves_out_none_for_what_enters_its_selection(nothing_runs):
    first, second, third = dead(3)
    Delivery.objects.filter(pk=second.pk).update(state="succeeded")
    asked = started(Selection(states=("dead",)), batch_size=1)
    assert asked.selected == 2
    Delivery.objects.filter(pk=second.pk).update(state="dead")
    later = store(state="dead")
    opened = [replay.open_batch(asked.pk) for _ in range(4)]
    assert opened == [[first.pk], [second.pk], [third.pk], None]
    assert fresh(later).replay is None


def test_open_batch__leaves_alone_what_waits_for_a_replay_that_asks_for_more(connect):
    receiver = connect()
    row = store()
    process(row.pk)
    wide = opened_again(receivers=Replay.Receivers.ALL)
    assert replay.plan(Selection()).waiting == 1
    narrow = opened_again()
    assert (narrow.accepted, narrow.skipped) == (0, 1)
    process(row.pk)
    assert (receiver.call_count, fresh(row).replay) == (2, wide)


def test_carry_out__stops_before_a_delivery_and_leaves_the_rest_to_the_sweep(connect):
    with time_machine.travel(NOW, tick=False) as traveller:
        receiver = connect(side_effect=lambda **_: traveller.shift(HOUR))
        dead(5)
        asked = started()
        replay.carry_out(asked.pk, until=NOW + 2 * HOUR)
        assert receiver.call_count == 2
        assert Delivery.objects.filter(state="received", handed_over_at=None).count() == 3
        receiver.side_effect = None
        sweep(batch_size=10)
    assert Delivery.objects.filter(state="succeeded").count() == 5


@pytest.mark.django_db(transaction=True)
def test_carry_on__reads_nothing_more_for_each_delivery_than_a_first_run(connect):
    connect()

    def statements_of(number):
        dead(number)
        asked = started(Selection(states=("dead",)), receivers=Replay.Receivers.ALL)
        with CaptureQueriesContext(connection) as captured:
            replay.carry_on(asked.pk)
        assert Delivery.objects.filter(replay=asked, state="succeeded").count() == number
        return len(captured)

    new = store()
    with CaptureQueriesContext(connection) as first_run:
        process(new.pk)
    assert statements_of(7) - statements_of(2) == 5 * len(first_run)


@pytest.mark.parametrize("receivers", Replay.Receivers)
def test_carry_on__knows_what_another_process_has_run_meanwhile(connect, receivers):
    good = connect(name="good")
    bad = connect(name="bad", side_effect=RetryLater(timedelta(0)))
    first, second = dead(2)
    asked = started(receivers=receivers)

    def another_is_quicker_with_the_second():
        if fresh(first).attempts and not fresh(second).attempts:
            process(second.pk)
        return True

    replay.carry_on(asked.pk, may_go_on=another_is_quicker_with_the_second)
    assert (fresh(first).attempts, fresh(second).attempts) == (1, 2)
    assert (good.call_count, bad.call_count) == (2, 3)
    runs = second.runs.order_by("pk").values_list("receiver", "number", "trigger")
    assert list(runs) == [
        ("tests.good", 1, "replay"),
        ("tests.bad", 1, "replay"),
        ("tests.bad", 2, "retry"),
    ]


def test_carry_on__knows_that_another_replay_has_opened_it_meanwhile(connect):
    receiver = connect()
    first, second = dead(2)
    earlier = started()
    later: list[Replay] = []

    def another_is_quicker_with_the_second():
        if fresh(first).state == "succeeded" and not later:
            process(second.pk)
            later.append(
                opened_again(Selection(primary_keys=(second.pk,)), receivers=Replay.Receivers.ALL)
            )
        return True

    replay.carry_on(earlier.pk, may_go_on=another_is_quicker_with_the_second)
    assert (fresh(second).state, receiver.call_count) == ("succeeded", 3)
    runs = second.runs.order_by("pk").values_list("number", "replay", "trigger")
    assert list(runs) == [(1, earlier.pk, "replay"), (2, later[0].pk, "replay")]


def readings_of_runs(captured):
    """Return the statements that read runs, with no quotes around names."""
    statements = [re.sub('["`]', "", query["sql"]) for query in captured]
    return [each for each in statements if f"FROM {ReceiverRun._meta.db_table}" in each]


def test_carry_on__reads_the_runs_of_few_at_once(connect, monkeypatch):
    monkeypatch.setattr(carrying, "READ_AT_ONCE", 2)
    receiver = connect(side_effect=ValueError)
    rows = dead(5)
    asked = started()
    with CaptureQueriesContext(connection) as captured:
        replay.carry_on(asked.pk)
    readings = readings_of_runs(captured)
    assert len(readings) == 3
    assert not [each for each in readings if "traceback" in each]
    assert receiver.call_count == len(rows)


def test_carry_on__reads_no_runs_where_others_process(nothing_runs):
    dead(2)
    asked = started()
    with CaptureQueriesContext(connection) as captured:
        assert len(replay.carry_on(asked.pk) or []) == 2
    assert readings_of_runs(captured) == []


def test_carry_on__goes_on_where_it_cannot_read_the_runs_of_a_batch(connect, caplog):
    receiver = connect()
    dead(2)
    asked = started()

    def refuse(execute, sql, params, many, context):
        if " IN (" in sql and readings_of_runs([{"sql": sql}]):
            raise DatabaseError("canceling statement due to statement timeout")
        return execute(sql, params, many, context)

    with connection.execute_wrapper(refuse):
        replay.carry_on(asked.pk)
    assert receiver.call_count == 2
    assert Delivery.objects.filter(state="succeeded").count() == 2
    assert f"What replay {asked.pk} has opened was not read at once" in caplog.text


def test_carry_on__lends_each_delivery_a_replay_of_its_own(connect):
    def change(*, delivery, **_given):
        delivery.replay.only.append("tests.another")
        delivery.replay.reason = "changed"

    receiver = connect(side_effect=change)
    dead(2)
    replay.carry_on(started().pk)
    assert receiver.call_count == 2
    assert Delivery.objects.filter(state="succeeded").count() == 2


def test_carry_out__does_not_recurse_where_the_engine_runs_tasks_at_once(
    settings, webhook_setting, connect
):
    receiver = connect()
    settings.TASKS = {
        "default": {"BACKEND": f"{tasks._IMPLEMENTATION}.backends.immediate.ImmediateBackend"}
    }
    webhook_setting(PROCESSING="tasks")
    dead(40)
    asked = started(batch_size=1)
    depths: list[int] = []
    receiver.side_effect = lambda **_: depths.append(len(inspect.stack(0)))
    replay.carry_out(asked.pk, until=timezone.now() + HOUR)
    assert (fresh(asked).state, receiver.call_count) == ("finished", 40)
    assert max(depths) - min(depths) < 10


def test_sweep__goes_on_where_one_replay_cannot_be_read(connect, caplog):
    connect()
    broken, good = started(), started()
    dead(1)
    Replay.objects.filter(pk=broken.pk).update(selection={"of_a_later_version": 1}, ceiling=9)
    Replay.objects.filter(pk=good.pk).update(ceiling=10**9)
    report = sweep(batch_size=10)
    assert (report.replayed, bool(report.troubles)) == (1, True)
    assert f"Replay {broken.pk} could not be carried on" in caplog.text
    assert fresh(good).state == "finished"


def test_open_batch__leaves_out_what_no_longer_matches(nothing_runs):
    first, second = dead(2)
    asked = started(Selection(states=("dead",)))
    Delivery.objects.filter(pk=first.pk).update(state="succeeded")
    assert replay.open_batch(asked.pk) == [second.pk]
    asked = fresh(asked)
    assert (asked.state, asked.looked_at, asked.left) == ("finished", 1, 1)


def test_open_batch__waits_for_its_turn(nothing_runs):
    dead(5)
    with time_machine.travel(NOW, tick=False) as traveller:
        asked = started(per_minute=2)
        assert len(replay.open_batch(asked.pk) or []) == 2
        assert fresh(asked).next_batch_at == timezone.now() + timedelta(minutes=1)
        assert replay.open_batch(asked.pk) is None
        traveller.shift(timedelta(minutes=1))
        assert len(replay.open_batch(asked.pk) or []) == 2


@pytest.mark.parametrize("verb", ["pause", "cancel", "finish"])
def test_open_batch__opens_nothing_of_what_does_not_run(nothing_runs, verb):
    dead(2)
    asked = started()
    getattr(asked, verb)()
    assert replay.open_batch(asked.pk) is None
    assert not Delivery.objects.exclude(state="dead").exists()


def test_open_batch__goes_on_after_a_pause(nothing_runs):
    dead(3)
    asked = started(batch_size=2)
    replay.open_batch(asked.pk)
    fresh(asked).pause()
    assert replay.open_batch(asked.pk) is None
    asked.resume()
    assert len(replay.open_batch(asked.pk) or []) == 1


@pytest.mark.django_db(transaction=True)
def test_open_batch__opens_nothing_by_halves(nothing_runs):
    dead(2)
    asked = started()

    def die_at_the_cursor(execute, sql, *args):
        if sql.startswith("UPDATE") and "cursor" in sql:
            raise DatabaseError
        return execute(sql, *args)

    with connection.execute_wrapper(die_at_the_cursor), pytest.raises(DatabaseError):
        replay.open_batch(asked.pk)
    assert Delivery.objects.filter(state="dead", replay=None).count() == 2
    assert fresh(asked).cursor == 0


@pytest.mark.django_db(transaction=True)
def test_open_batch__by_many_at_once_opens_each_once(nothing_runs):
    rows = [row.pk for row in dead(40)]
    asked = started(batch_size=3)
    barrier = threading.Barrier(8)

    def work(_number):
        barrier.wait()
        opened = []
        try:
            while (batch := replay.open_batch(asked.pk)) is not None:
                opened += batch
        finally:
            connections.close_all()
        return opened

    with ThreadPoolExecutor(8) as pool:
        opened = [key for batch in pool.map(work, range(8)) for key in batch]
    assert sorted(opened) == rows
    assert (fresh(asked).accepted, asked.state) == (40, "finished")


def test_carry_out__runs_each_receiver_once_and_settles(connect):
    receiver = connect()
    dead(7)
    asked = started(batch_size=3)
    replay.carry_out(asked.pk, until=timezone.now() + HOUR)
    assert receiver.call_count == 7
    assert Delivery.objects.filter(state="succeeded", replay=asked).count() == 7
    assert fresh(asked).state == "finished"


def test_carry_out__stops_in_time(connect):
    connect()
    dead(3)
    asked = started(batch_size=1)
    replay.carry_out(asked.pk, until=timezone.now())
    assert fresh(asked).accepted == 0


def test_carry_out__goes_on_past_a_batch_that_is_all_skipped(connect):
    rows = dead(3)
    for row in rows[:2]:
        lease(row)
    asked = started(batch_size=1)
    connect()
    replay.carry_out(asked.pk, until=timezone.now() + HOUR)
    assert (fresh(asked).accepted, asked.skipped, asked.state) == (1, 2, "finished")


def test_schedule__waits_until_the_response_has_left(connect):
    receiver = connect()
    dead(2)
    asked, response = started(), HttpResponse()
    replay.schedule(asked, response=response)
    assert receiver.call_count == 0
    response.close()
    assert receiver.call_count == 2


@pytest.mark.django_db(transaction=True)
def test_schedule__leaves_to_the_sweep_what_it_could_not_do(connect, caplog):
    connect()
    dead(2)
    asked, response = started(), HttpResponse()
    replay.schedule(asked, response=response)

    def refuse(*args):
        raise DatabaseError("gone")

    with connection.execute_wrapper(refuse):
        response.close()
    assert f"Replay {asked.pk} has stopped; the sweep will go on with it." in caplog.text
    assert replay.is_stalled(fresh(asked))
    report = sweep(batch_size=1)
    assert report.replayed == 2
    assert Delivery.objects.filter(state="succeeded").count() == 2


# To some receivers only


def test_only__runs_no_other_and_leaves_the_others_as_they_were(history, connect):
    new = connect(name="new")
    opened_again(only=("tests.new",))
    for row in history:
        process(row.pk)
    assert new.call_count == 4
    assert [fresh(row).state for row in history] == ["dead", "dead", "dead", "succeeded"]
    assert set(ReceiverRun.objects.exclude(replay=None).values_list("receiver", flat=True)) == {
        "tests.new"
    }


def test_only__does_not_tell_anew_what_had_failed_before(history, connect):
    told: list[str] = []

    def tell(sender, delivery, runs, **kwargs):
        told.extend(run.receiver for run in runs)

    delivery_failed.connect(tell)
    connect(name="new")
    opened_again(only=("tests.new",))
    process(history[0].pk)
    assert (fresh(history[0]).state, told) == ("dead", [])
    connect(name="newer", side_effect=ValueError)
    opened_again(only=("tests.newer",))
    process(history[0].pk)
    assert told == ["tests.newer"]


def test_only__mends_what_had_failed(history):
    opened_again(only=("tests.bad",))
    for row in history:
        process(row.pk)
    assert {fresh(row).state for row in history} == {"succeeded"}


def test_only__claims_no_success_where_nothing_has_ever_run(connect):
    connect(bundle_finished, name="bundles")
    row = store(events.SOURCE_FINISHED, state="unhandled")
    connect(name="all")
    opened_again(only=("tests.bundles",))
    process(row.pk)
    assert fresh(row).state == "unhandled"


def test_only__leaves_alone_what_waits_for_its_first_attempt(connect):
    first, second = connect(name="first"), connect(name="second")
    row = store()
    opened_again(only=("tests.first",))
    process(row.pk)
    assert (first.call_count, second.call_count, fresh(row).replay) == (1, 1, None)


def test_only__of_all_runs_again_what_has_succeeded(connect):
    first, second = connect(name="first"), connect(name="second")
    row = store()
    process(row.pk)
    opened_again(only=("tests.first",), receivers=Replay.Receivers.ALL)
    process(row.pk)
    assert (first.call_count, second.call_count) == (2, 1)
    assert fresh(row).state == "succeeded"


# Through a task engine


@pytest.fixture
def dummy(settings, webhook_setting, monkeypatch):
    """A task backend that keeps what it is given, and runs nothing."""
    module = tasks._IMPLEMENTATION
    settings.TASKS = {"default": {"BACKEND": f"{module}.backends.dummy.DummyBackend"}}
    webhook_setting(PROCESSING="tasks")
    # What a site with this setting has had since its start.
    monkeypatch.setattr(tasks, "process_delivery", tasks.delivery_task())
    monkeypatch.setattr(carrying, "continue_replay", tasks.task_of(carrying.continue_replay))
    backend = tasks.delivery_task().get_backend()
    backend.clear()
    return backend


def bound_task() -> Any:
    """Return what a worker finds under the name that it was told."""
    return carrying.continue_replay


def given(backend):
    """What the engine was given: the function's name and its argument."""
    return [(result.task.func.__name__, *result.args) for result in backend.results]


def run_next(backend):
    """Run the oldest of the tasks, as a worker would."""
    result = backend.results.pop(0)
    result.task.func(*result.args)


@pytest.mark.django_db(transaction=True)
def test_task__opens_a_batch_and_comes_back_behind_it(dummy, connect):
    receiver = connect()
    rows = [row.pk for row in dead(3)]
    asked, response = started(batch_size=2), HttpResponse()
    replay.schedule(asked, response=response)
    response.close()
    assert given(dummy) == [("continue_replay", asked.pk)]
    run_next(dummy)
    first = [("process_delivery", key) for key in rows[:2]]
    assert given(dummy) == [*first, ("continue_replay", asked.pk)]
    assert not replay.is_stalled(fresh(asked))
    for _ in range(3):
        run_next(dummy)
    assert given(dummy) == [("process_delivery", rows[2])]
    run_next(dummy)
    assert (receiver.call_count, fresh(asked).state) == (3, "finished")
    assert given(dummy) == []


def test_task__waits_for_its_turn_where_the_engine_can(dummy):
    dead(3)
    asked = started(per_minute=1)
    bound_task().func(asked.pk)
    *_, later = dummy.results
    assert later.task.func.__name__ == "continue_replay"
    assert later.task.run_after >= fresh(asked).next_batch_at


def test_task__does_nothing_for_one_that_was_cancelled(dummy):
    dead(3)
    asked = started()
    asked.cancel()
    bound_task().func(asked.pk)
    assert given(dummy) == []


def test_sweep__takes_up_a_replay_whose_task_was_lost(dummy, connect):
    connect()
    dead(3)
    asked = started(batch_size=2)
    assert sweep(batch_size=10).replayed == 2
    assert [name for name, _key in given(dummy)] == ["process_delivery"] * 2 + ["continue_replay"]
    assert sweep(batch_size=10).replayed == 0, "it is under way"
    dummy.results.pop()
    for _ in range(2):
        run_next(dummy)
    assert sweep(batch_size=10).replayed == 1
    assert fresh(asked).state == "finished"


def test_sweep__carries_a_replay_out_where_there_is_no_engine(connect):
    receiver = connect()
    dead(5)
    asked = started(batch_size=2)
    report = sweep(batch_size=10)
    assert (report.replayed, receiver.call_count) == (5, 5)
    assert fresh(asked).state == "finished"


def test_sweep__leaves_a_paused_replay_and_one_that_has_to_wait(connect):
    connect()
    dead(3)
    paused, slow = started(), started(per_minute=1)
    paused.pause()
    assert sweep(batch_size=10).replayed == 1
    assert sweep(batch_size=10).replayed == 0
    assert not replay.is_stalled(fresh(slow))

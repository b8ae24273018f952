from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, connections
from django.utils import timezone

from perfsee_webhooks import sweep as sweeping
from perfsee_webhooks.envelope import Envelope
from perfsee_webhooks.models import Delivery
from perfsee_webhooks.processing import process
from perfsee_webhooks.sending import perfsee_headers
from perfsee_webhooks.sweep import sweep

from .sites import ROOT, SECRET, running_environment

State = Delivery.State
handed_over: list[int] = []


def hand_over(primary_key: int) -> None:
    handed_over.append(primary_key)


def fail_to_hand_over(primary_key: int) -> None:
    raise ConnectionError("the engine is down")


@pytest.fixture(autouse=True)
def _nothing_handed_over():
    handed_over.clear()


@pytest.fixture
def many(db, body) -> list[int]:
    """Deliveries that were received long ago, and that nobody has looked after."""
    envelopes = [
        Envelope.read(body, perfsee_headers(body, SECRET, delivery_id=f"d{number}"), "SECRETS[0]")
        for number in range(20)
    ]
    keys = [Delivery.objects.record(envelope) for envelope in envelopes]
    forget()
    return [key for key in keys if key is not None]


def forget() -> None:
    long_ago = timezone.now() - timedelta(hours=1)
    Delivery.objects.update(handed_over_at=long_ago)


def test_sweep__leaves_what_somebody_was_just_told_of(delivery, connect):
    receiver = connect()
    assert sweep(batch_size=10).total == 0
    assert receiver.call_count == 0


def test_sweep__processes_inline_what_was_never_run(many, connect):
    receiver = connect()
    report = sweep(batch_size=7)
    assert report.found == {State.RECEIVED: 20}
    assert report.endings == {State.SUCCEEDED: 20}
    assert [call.kwargs["delivery"].pk for call in receiver.call_args_list] == many


def test_sweep__retries_what_is_due(delivery, connect):
    connect(side_effect=[ValueError, None])
    process(delivery.pk)
    assert sweep(batch_size=10).total == 0
    Delivery.objects.update(next_attempt_at=timezone.now())
    report = sweep(batch_size=10)
    assert (report.found, report.endings) == ({State.FAILED: 1}, {State.SUCCEEDED: 1})


def test_sweep__takes_up_what_was_abandoned(delivery, connect):
    connect()
    Delivery.objects.claim(delivery.pk)
    assert sweep(batch_size=10).total == 0
    forget()
    Delivery.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    report = sweep(batch_size=10)
    assert (report.found, report.endings) == ({State.PROCESSING: 1}, {State.SUCCEEDED: 1})


@pytest.mark.parametrize("state", [State.SUCCEEDED, State.DEAD, State.UNHANDLED])
def test_sweep__leaves_what_is_settled(many, state):
    Delivery.objects.update(state=state)
    assert sweep(batch_size=10).total == 0


def test_sweep__hands_over_again_and_then_waits(many, webhook_setting):
    webhook_setting(PROCESSING="tests.test_sweep.hand_over")
    assert sweep(batch_size=7).endings == {sweeping.HANDED_OVER: 20}
    assert handed_over == many
    assert sweep(batch_size=7).total == 0


def test_sweep__takes_up_at_once_what_an_engine_did_not_take(many, webhook_setting, caplog):
    webhook_setting(PROCESSING="tests.test_sweep.fail_to_hand_over")
    assert sweep(batch_size=100).endings == {sweeping.ERROR: 20}
    webhook_setting(PROCESSING="tests.test_sweep.hand_over")
    assert sweep(batch_size=100).endings == {sweeping.HANDED_OVER: 20}


def test_sweep__takes_up_at_once_what_was_abandoned_and_an_engine_did_not_take(
    delivery, webhook_setting
):
    webhook_setting(PROCESSING="tests.test_sweep.fail_to_hand_over")
    Delivery.objects.claim(delivery.pk)
    Delivery.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    Delivery.objects.update(handed_over_at=None)
    assert sweep(batch_size=10).endings == {"error": 1}
    assert sweep(batch_size=10).endings == {"error": 1}


@pytest.mark.django_db(transaction=True)
def test_sweep__is_safe_to_run_several_times_at_once(many, webhook_setting):
    webhook_setting(PROCESSING="tests.test_sweep.hand_over")
    start = threading.Barrier(4)

    def sweep_in_a_thread(_):
        try:
            start.wait()
            return sweep(batch_size=3).total
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as pool:
        totals = list(pool.map(sweep_in_a_thread, range(4)))
    assert sum(totals) == 20
    assert Counter(handed_over) == dict.fromkeys(many, 1)


def test_sweep__counts_what_another_process_was_quicker_with(many, monkeypatch):
    monkeypatch.setattr(sweeping, "process", lambda _: None)
    assert sweep(batch_size=100).endings == {sweeping.NOTHING_TO_DO: 20}


@pytest.mark.django_db(transaction=True)
def test_sweep__goes_on_after_an_error_of_the_database(many, monkeypatch, no_receivers, caplog):
    def process_or_fail(primary_key: int) -> Delivery | None:
        if primary_key == many[3]:
            raise DatabaseError("gone")
        return process(primary_key)

    monkeypatch.setattr(sweeping, "process", process_or_fail)
    assert sweep(batch_size=100).endings == {State.UNHANDLED: 19, sweeping.ERROR: 1}


@pytest.mark.django_db(transaction=True)
def test_sweep__executes_a_constant_number_of_statements(
    many, webhook_setting, django_assert_num_queries
):
    webhook_setting(PROCESSING="tests.test_sweep.hand_over")
    sweep(batch_size=1)
    forget()
    with django_assert_num_queries(7) as captured:
        sweep(batch_size=100)
    assert [query["sql"].split()[0] for query in captured] == [
        "UPDATE",  # the sign of life
        "BEGIN",
        "SELECT",
        "UPDATE",
        "COMMIT",
        "SELECT",  # replays that nobody is at work on
        "SELECT",  # when what failed is due again
    ]
    if connection.features.has_select_for_update_skip_locked:
        assert "FOR UPDATE SKIP LOCKED" in captured[2]["sql"]


def perfsee_sweep(*arguments: str) -> str:
    written = StringIO()
    call_command("perfsee_sweep", *arguments, stdout=written)
    return written.getvalue()


def test_perfsee_sweep__says_what_it_did(many, connect):
    connect()
    assert perfsee_sweep() == "Took up 20 (20 received): 20 succeeded.\n"
    assert perfsee_sweep() == "Nothing is overdue.\n"


def test_perfsee_sweep__says_when_what_failed_is_due_again(delivery):
    moment = timezone.now() + timedelta(hours=1)
    Delivery.objects.update(state="failed", attempts=1, next_attempt_at=moment)
    assert perfsee_sweep() == (
        "Nothing is overdue. What failed is due again from "
        f"{timezone.localtime(moment):%Y-%m-%d %H:%M:%S} on.\n"
    )


def test_perfsee_sweep__says_it_as_json(many, connect):
    connect()
    assert json.loads(perfsee_sweep("--json")) == {
        "found": {"received": 20},
        "endings": {"succeeded": 20},
        "replayed": 0,
        "drained": 0,
        "troubles": 0,
    }


def test_perfsee_sweep__ends_with_an_error_where_something_is_left(many, webhook_setting):
    webhook_setting(PROCESSING="tests.test_sweep.fail_to_hand_over")
    with pytest.raises(CommandError, match="20 deliveries have to be tried again"):
        perfsee_sweep()


@pytest.mark.parametrize(
    "arguments", [["--batch-size=0"], ["--batch-size=10001"], ["--watch=0"], ["--watch=-1"]]
)
def test_perfsee_sweep__refuses_what_makes_no_sense(db, arguments):
    with pytest.raises(CommandError, match="has to be"):
        perfsee_sweep(*arguments)


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_perfsee_sweep__watches_until_it_is_told_to_stop(site_database_url, ending):
    with subprocess.Popen(
        [sys.executable, "manage.py", "perfsee_sweep", "--watch=0.1", "--json"],
        cwd=ROOT,
        env=running_environment(site_database_url),
        stdout=subprocess.PIPE,
        text=True,
    ) as watch:
        assert watch.stdout is not None
        assert watch.stdout.readline() == "Watching.\n"
        watch.send_signal(ending)
        assert watch.wait(timeout=20) == 0

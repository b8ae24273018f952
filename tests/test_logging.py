"""What the package writes to its log: each event once, with ids, and nothing that is secret."""

from __future__ import annotations

import ast
import json
import logging
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

import perfsee_webhooks
from perfsee_webhooks import log, pruning, replay
from perfsee_webhooks.exceptions import RetryLater
from perfsee_webhooks.models import Delivery
from perfsee_webhooks.processing import process
from perfsee_webhooks.selection import Selection
from perfsee_webhooks.sending import perfsee_headers
from perfsee_webhooks.signals import bundle_finished
from perfsee_webhooks.signatures import sign
from perfsee_webhooks.sweep import sweep
from perfsee_webhooks.views import ReceiveView

from .sites import SECRET

PACKAGE = Path(perfsee_webhooks.__file__).parent
METHODS = {"debug", "info", "warning", "error", "exception", "critical", "log"}
ATTRIBUTES_OF_ALL = vars(logging.makeLogRecord({})).keys()


@pytest.fixture
def logged(caplog):
    """Return level, message and ids of what was logged since it was last asked."""
    caplog.set_level("DEBUG", logger="perfsee_webhooks")

    def read():
        records = [r for r in caplog.records if r.name.startswith("perfsee_webhooks.")]
        caplog.clear()
        return [(record.levelname, record.getMessage(), ids_in(record)) for record in records]

    return read


def ids_in(record):
    return {
        name.removeprefix("perfsee_"): value
        for name, value in vars(record).items()
        if name.startswith("perfsee_")
    }


# How it is written down


def calls_of(module):
    for node in ast.walk(ast.parse(module.read_bytes())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            yield node, ast.unparse(node.func.value), node.func.attr


@pytest.mark.parametrize(
    "module", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_logging__each_call_has_ids(module):
    for call, owner, method in calls_of(module):
        if owner == "logging" and method == "getLogger":
            assert ast.unparse(call.args[0]) == "__name__"
        elif owner in ("logger", "logging") and method in METHODS:
            assert owner == "logger"
            extra = [item.value for item in call.keywords if item.arg == "extra"]
            assert extra, f"line {call.lineno} has no extra"
            assert ast.unparse(extra[0]).startswith(("ids(", "ids_of(")), f"line {call.lineno}"


def test_ids__are_lines_under_names_of_their_own():
    named = dict.fromkeys(ATTRIBUTES_OF_ALL, "x")
    assert not log.ids(**named).keys() & ATTRIBUTES_OF_ALL
    found = log.ids(text="a\nb\x1b[2J\u202e", long="x" * 1000, number=7, nothing=None)
    assert found == {
        "perfsee_text": "a\ufffdb\ufffd[2J\ufffd",
        "perfsee_long": "x" * 299 + "…",
        "perfsee_number": 7,
        "perfsee_nothing": None,
    }


# What is told


@pytest.mark.django_db
@pytest.mark.usefixtures("nothing_runs")
def test_logging__a_delivery_that_is_stored_comes_again_or_conflicts(post, body, logged):
    post(body, delivery_id="one", headers={"X-Perfsee-Hook-ID": "7"})
    known = {
        "delivery_id": "one",
        "event_type": "bundle:finished",
        "project": Delivery.objects.get().project,
        "hook_id": "7",
    }
    assert logged() == [("INFO", "Delivery one was stored.", known)]
    post(body, delivery_id="one", headers={"X-Perfsee-Hook-ID": "7"})
    assert logged() == [("INFO", "Delivery one came again.", known)]
    assert post(body + b" ", delivery_id="one").status_code == 409
    [(level, message, ids)] = logged()
    assert (level, ids["reason"], ids["delivery_id"]) == ("WARNING", "conflict", "one")
    assert message.startswith("A request was refused: This delivery id is already stored")


@pytest.mark.django_db
def test_logging__a_refused_request_is_a_line_without_control_characters(post, body, logged):
    post(
        body,
        secret="another one, of enough characters",
        headers={
            "X-Perfsee-Delivery": "one\x1b[2J\x00two",
            "X-Perfsee-Event": "bundle\x9bfinished",
        },
    )
    [(level, _message, ids)] = logged()
    assert (level, ids["reason"]) == ("WARNING", "wrong_signature")
    assert isinstance(ids["rejection"], int)
    assert ids["delivery_id"] == "one\ufffd[2J\ufffdtwo"
    assert "\x9b" not in ids["event_type"]


@pytest.mark.django_db
def test_logging__hostile_text_makes_no_line_of_its_own(post, connect, webhook_setting, caplog):
    hostile = "x\r\n2026-01-01 CRITICAL root: forged\x1b[31m\x9b\u2028\u202ey"
    connect(side_effect=[ValueError(hostile), RetryLater(timedelta(0), hostile)])
    webhook_setting(MAX_ATTEMPTS=1)
    project = {"id": hostile, "artifact": {"branch": hostile, "hash": hostile, "name": hostile}}
    data = {"eventType": hostile, "payload": {"data": {"project": project}}}
    in_header = hostile.encode().decode("latin-1")
    headers = {
        "User-Agent": in_header,
        **{f"X-Perfsee-{name}": in_header for name in ("Event", "Hook-ID", "Hook-Project")},
    }
    caplog.set_level("DEBUG", logger="perfsee_webhooks")
    body = json.dumps(data).encode()
    for number in range(2):
        assert post(body + b" " * number, headers=headers).status_code == 204
    assert post(body, headers={**headers, "X-Perfsee-Delivery": in_header}).status_code == 400
    assert (
        post(body, secret="another one, of enough characters", headers=headers).status_code == 400
    )
    records = [one for one in caplog.records if one.name.startswith("perfsee_webhooks.")]
    assert len(records) >= 8
    for record in records:
        first, *following = logging.Formatter().format(record).splitlines()
        assert all(line.startswith("  ") for line in following)
        for text in (first, *following, *map(str, ids_in(record).values())):
            assert text.isprintable(), text


@pytest.mark.django_db
def test_logging__nothing_secret(post, body, logged, caplog, connect, webhook_setting):
    connect(bundle_finished, side_effect=[None, RuntimeError("broken")])
    webhook_setting(HOOKS={"7": {"SECRETS": ["canary-of-sixteen-characters"]}}, MAX_ATTEMPTS=1)
    for headers in ({}, {"X-Perfsee-Hook-ID": "7"}, {"X-Perfsee-Signature-256": "sha256=canary"}):
        post(body, headers=headers)
    post(body, secret="canary, which is of another one")
    written = "".join(f"{vars(record)}" for record in caplog.records) + caplog.text
    assert written.count("was refused") >= 2
    for secret in ("canary", SECRET, sign(body, SECRET.encode()), body.decode()[:40]):
        assert secret not in written


@pytest.mark.django_db
def test_logging__a_receiver_that_fails_until_its_delivery_is_dead(
    delivery, connect, webhook_setting, caplog, logged
):
    webhook_setting(MAX_ATTEMPTS=2, BACKOFF=timedelta(microseconds=1))
    connect(bundle_finished, side_effect=[RetryLater(timedelta(0)), RuntimeError("broken")])
    process(delivery.pk)
    later, waits = logged()
    assert later[:2] == ("WARNING", f"Receiver tests.receiver failed on {named(delivery)}.")
    assert later[2]["receiver"] == "tests.receiver"
    assert waits[:2] == ("INFO", f"{capital(named(delivery))} is failed after attempt 1.")
    process(delivery.pk)
    assert [r.exc_info[0] for r in caplog.records if r.exc_info] == [RuntimeError]
    failed, dead = logged()
    assert failed[0] == "ERROR"
    assert failed[2]["attempt"] == 2
    assert dead[:2] == ("ERROR", f"{capital(named(delivery))} is dead after attempt 2.")
    assert dead[2]["delivery_id"] == delivery.delivery_id


def named(delivery):
    return f"delivery {delivery.delivery_id}"


def capital(text):
    return text[0].upper() + text[1:]


@pytest.mark.django_db
def test_logging__a_delivery_that_is_taken_over(delivery, connect, logged):
    connect(bundle_finished)
    Delivery.objects.claim(delivery.pk)
    Delivery.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    process(delivery.pk)
    taken, settled = logged()
    assert taken[:2] == (
        "WARNING",
        f"{capital(named(delivery))} is taken over: the process of its attempt 1 was lost.",
    )
    assert taken[2]["attempt"] == 1
    assert settled[1].endswith("is succeeded after attempt 2.")


@pytest.mark.django_db
@pytest.mark.usefixtures("nothing_runs")
def test_logging__a_replay_from_its_start_to_its_end(delivery, logged):
    Delivery.objects.update(state="dead", lease_token=None)
    asked = replay.start(Selection(), requested_by="someone\x1b")
    assert logged() == [
        (
            "INFO",
            f"Replay {asked.pk} was asked for by someone\ufffd: 1 selected.",
            {"replay": asked.pk, "requested_by": "someone\ufffd"},
        )
    ]
    asked.pause()
    asked.resume()
    replay.carry_out(asked.pk, until=timezone.now() + timedelta(minutes=1))
    assert logged() == [
        ("INFO", f"Replay {asked.pk} is {state}.", {"replay": asked.pk})
        for state in ("paused", "running", "finished")
    ]
    assert not asked.cancel()
    assert logged() == []


@pytest.mark.django_db
def test_logging__a_sweep(delivery, connect, logged):
    connect(bundle_finished)
    Delivery.objects.update(handed_over_at=None)
    sweep(batch_size=10)
    message = "Swept: {} taken up, 0 opened of replays, 0 stored from the spool."
    assert logged()[-1] == ("INFO", message.format(1), {"taken_up": 1, "replayed": 0, "drained": 0})
    sweep(batch_size=10)
    assert logged() == [("DEBUG", message.format(0), {"taken_up": 0, "replayed": 0, "drained": 0})]


@pytest.mark.django_db
def test_logging__pruning(delivery, webhook_setting, logged):
    old = timezone.now() - timedelta(days=2)
    Delivery.objects.update(state="succeeded", received_at=old)
    webhook_setting(KEEP_BODIES=timedelta(days=1))
    pruning.prune_bodies(show=lambda _count: None)
    webhook_setting(KEEP_ROWS=timedelta(days=1))
    pruning.prune_rows(show=lambda _count: None)
    assert logged() == [
        ("INFO", "Deliveries whose bytes were pruned: 1.", {"pruned": 1}),
        ("INFO", "Deliveries that were pruned: 1.", {"pruned": 1}),
    ]


@pytest.mark.django_db
@pytest.mark.usefixtures("nothing_runs")
def test_logging__an_arrival_is_told_once_the_answer_has_left(rf, body, logged):
    request = rf.post(
        "/", body, content_type="application/json", headers=perfsee_headers(body, SECRET)
    )
    answer = ReceiveView.as_view()(request)
    assert (answer.status_code, logged()) == (204, [])
    answer.close()
    assert len(logged()) == 1


@pytest.mark.django_db
def test_logging__of_what_a_receiver_raises_is_no_line_of_its_own(delivery, connect, caplog):
    forged = "x\r\n2026-01-01 CRITICAL root: forged\x1b[31m\u2028y"
    connect(side_effect=ValueError(forged))
    process(delivery.pk)
    (record,) = [found for found in caplog.records if found.exc_info]
    assert record.exc_info
    assert str(record.exc_info[1]) == forged
    written = logging.Formatter("%(levelname)s %(message)s").format(record)
    assert "\x1b" not in written
    assert "\u2028" not in written
    first, *following = written.splitlines()
    assert first.startswith("ERROR Receiver")
    assert following
    assert all(line.startswith("  ") for line in following)
    assert record.pathname.endswith("processing.py")

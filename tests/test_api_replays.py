"""The replays of the API: planned, started as they were planned, and held up."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext

from perfsee_webhooks import replay as replaying
from perfsee_webhooks.models import Delivery, ReceiverRun, Replay
from perfsee_webhooks.processing import process
from perfsee_webhooks.signals import bundle_finished

from .replays import opened_again

pytestmark = pytest.mark.django_db

REPLAYS = "/api/replays/"
PLAN = f"{REPLAYS}plan/"


@pytest.fixture
def dead(post, body, connect, webhook_setting):
    """Three deliveries of which the receiver `fails` failed, while `works` succeeded."""
    webhook_setting(PROCESSING="tests.replays.stay_put")
    connect(bundle_finished, name="works")
    fails = connect(bundle_finished, name="fails", side_effect=KeyError("score"))
    for delivery_id in ("one", "two", "three"):
        post(body, delivery_id=delivery_id)
        process(Delivery.objects.get(delivery_id=delivery_id).pk)
    Delivery.objects.update(state="dead", next_attempt_at=None)
    fails.side_effect = None
    webhook_setting(PROCESSING="inline")


@pytest.fixture
def replayer(person):
    return person("view_delivery", "replay_delivery")


def send(client, path, **asked):
    return client.post(path, asked, "application/json")


# The plan


def test_plan__says_what_would_be_done_and_does_nothing(replayer, dead):
    planned = send(replayer, PLAN, state=["dead"], limit=2).json()
    last = Delivery.objects.get(delivery_id="two").pk
    assert [row["delivery_id"] for row in planned.pop("first")] == ["one", "two"]
    assert planned == {
        "up_to": last,
        "matching": 3,
        "selected": 2,
        "looked_at": 2,
        "opened": 2,
        "pruned": 0,
        "running": 0,
        "waiting": 0,
        "receivers": [
            {"receiver": "tests.fails", "runs": 2, "again": 0},
            {"receiver": "tests.works", "runs": 0, "again": 0},
        ],
        "gone": {},
    }
    assert not Replay.objects.exists()
    assert set(Delivery.objects.values_list("state", flat=True)) == {"dead"}


@pytest.mark.parametrize(
    ("asked", "matching"),
    [
        ({}, 3),
        ({"deliveries": ["one", "three"]}, 2),
        ({"event": "lab:*"}, 0),
        ({"event": "bundle:*", "project": "perfsee"}, 3),
        ({"other_events": True}, 0),
        ({"search": "t"}, 2),
        ({"received_before": "2001-01-01T00:00:00Z"}, 0),
        ({"hook": "none"}, 0),
        ({"failure_group": "none"}, 0),
        ({"replay": 5}, 0),
        ({"state": ["succeeded", "failed"]}, 0),
    ],
)
def test_plan__selects_by_the_filters_of_the_list(asked, matching, replayer, dead):
    assert send(replayer, PLAN, **asked).json()["matching"] == matching


def test_plan__names_receivers_that_are_gone_and_runs_those_that_are_named(replayer, dead, connect):
    ReceiverRun.objects.filter(receiver="tests.works").update(receiver="tests.gone")
    planned = send(replayer, PLAN, receivers="all", only=["tests.works"]).json()
    assert planned["gone"] == {"tests.gone": 3}
    assert planned["receivers"] == [{"receiver": "tests.works", "runs": 3, "again": 0}]


@pytest.mark.parametrize(
    "asked",
    [
        {"stat": ["dead"]},
        {"state": ["lost"]},
        {"state": []},
        {"state": "dead"},
        {"deliveries": []},
        {"deliveries": ["one", "nobody"]},
        {"deliveries": ["\x00"]},
        {"deliveries": ["x"] * 1001},
        {"event": ","},
        {"event": "\x00"},
        {"event": "\ud800"},
        {"project": "\x00"},
        {"received_from": "1999-12-31T00:00:00Z"},
        {"received_from": "0001-01-01T00:00:00+23:59"},
        {"received_before": "9999-12-31T23:59:59-23:59"},
        {"received_before": "yesterday"},
        {"replay": 2**63},
        {"search": "\x00"},
        {"receivers": "some"},
        {"only": []},
        {"only": ["nobody"]},
        {"limit": 0},
        {"limit": 2**31},
        {"batch_size": None},
        {"batch_size": 10_001},
        {"per_minute": -1},
        {"up_to": 5},
    ],
    ids=lambda asked: repr(asked)[:40],
)
def test_plan__refuses_what_it_does_not_know(asked, replayer, dead):
    answer = send(replayer, PLAN, **asked)
    assert answer.status_code == 400
    ((name, problems),) = answer.json().items()
    assert name in {*asked, "non_field_errors"}
    assert problems


@pytest.mark.parametrize(
    "content", ["[]", "1", "{", '"text"', "null", "[" * 100_000], ids=lambda text: text[:9]
)
def test_plan__refuses_what_is_no_object(content, replayer):
    answer = replayer.post(PLAN, content, "application/json")
    assert answer.status_code == 400
    assert answer.json()


# The start


def test_start__runs_what_the_plan_has_shown(replayer, dead):
    planned = send(replayer, PLAN, state=["dead"]).json()
    answer = send(replayer, REPLAYS, state=["dead"], up_to=planned["up_to"], reason="It is mended.")
    assert answer.status_code == 201
    started = Replay.objects.get()
    assert answer["Location"] == f"http://testserver{REPLAYS}{started.pk}/"
    assert (started.requested_by, started.reason) == ("someone", "It is mended.")
    assert started.selected == answer.json()["selected"] == planned["selected"]
    assert set(Delivery.objects.values_list("state", flat=True)) == {"succeeded"}
    again = ReceiverRun.objects.filter(trigger="replay")
    assert set(again.values_list("receiver", "requested_by")) == {("tests.fails", "someone")}


def test_start__leaves_alone_what_has_come_since_the_plan(replayer, dead, post, body):
    up_to = send(replayer, PLAN).json()["up_to"]
    post(body, delivery_id="later")
    assert send(replayer, REPLAYS, up_to=up_to, receivers="all").json()["selected"] == 3
    assert ReceiverRun.objects.filter(delivery__delivery_id="later", trigger="replay").count() == 0


@pytest.mark.parametrize("asked", [{}, {"state": ["dead"]}, {"up_to": None}, {"up_to": ""}])
def test_start__is_of_nothing_that_no_plan_has_shown(asked, replayer, dead):
    answer = send(replayer, REPLAYS, **asked)
    assert answer.status_code == 400
    assert "up_to" in answer.json()
    assert not Replay.objects.exists()


def test_start__is_asked_for_by_a_user_whose_name_is_no_text(replayer, dead, monkeypatch):
    """As in a site whose users are known by a number."""
    monkeypatch.setattr(User, "get_username", lambda _user: 7)
    up_to = send(replayer, PLAN).json()["up_to"]
    started = send(replayer, REPLAYS, up_to=up_to)
    assert (started.status_code, started.json()["requested_by"]) == (201, "7")


def test_plan__takes_no_empty_field_of_a_form_for_any(replayer, dead):
    """Only the pages of the API send what nobody has filled in."""
    given = {"project": "", "receivers": "all"}
    answer = replayer.post(PLAN, given)
    assert (answer.status_code, list(answer.json())) == (400, ["project"])
    assert replayer.post(PLAN, {**given, "csrfmiddlewaretoken": "x"}).status_code == 200


def test_start__takes_a_form_as_the_pages_of_the_api_send_it(replayer, dead):
    form = {"csrfmiddlewaretoken": "x", "event": "", "limit": "", "received_from": "", "replay": ""}
    assert replayer.post(REPLAYS, {**form, "up_to": ""}).status_code == 400
    planned = replayer.post(PLAN, {**form, "batch_size": "100", "receivers": "failed"}).json()
    started = replayer.post(REPLAYS, {**form, "batch_size": "100", "up_to": planned["up_to"]})
    assert started.status_code == 201, started.content
    assert Replay.objects.get().selected == 3


def test_start__of_one_delivery_runs_that_one(replayer, dead):
    up_to = send(replayer, PLAN, deliveries=["two"]).json()["up_to"]
    send(replayer, REPLAYS, deliveries=["two"], up_to=up_to)
    assert list(Delivery.objects.filter(state="succeeded").values_list("delivery_id")) == [("two",)]


# What is told of them


def test_detail__of_many_that_were_not_counted_yet(person):
    replay = Replay.objects.create(requested_by="ada", selected=None)
    shown = person("view_replay").get(f"{REPLAYS}{replay.pk}/").json()
    assert (shown["selected"], shown["left"], shown["accepted"]) == (None, None, 0)


def test_detail__tells_what_it_selects_and_what_became_of_it(person, dead):
    replay = opened_again(replaying.Selection(states=("dead",)), batch_size=2)
    client = person("view_replay")
    shown = client.get(f"{REPLAYS}{replay.pk}/").json()
    assert shown["selection"] == {"states": ["dead"]}
    assert (shown["state"], shown["accepted"], shown["left"]) == ("running", 2, 1)
    assert shown["deliveries"] == {"received": 2}
    (row,) = client.get(REPLAYS, {"state": "running", "requested_by": "somebody"}).json()["results"]
    assert row["url"] == shown["url"]
    assert client.get(REPLAYS, {"state": "paused"}).json()["results"] == []


def test_list__reads_the_same_few_statements_for_any_number_of_rows(admin_client):
    counts = set()
    for number in (2, 20):
        Replay.objects.bulk_create(Replay(requested_by="me") for _ in range(number))
        with CaptureQueriesContext(connection) as statements:
            admin_client.get(REPLAYS)
        counts.add(len(statements))
    assert counts == {3}


# What can be done to one


@pytest.mark.parametrize(
    ("verb", "before", "after"),
    [
        ("pause", "running", "paused"),
        ("resume", "paused", "finished"),
        ("cancel", "running", "cancelled"),
        ("cancel", "paused", "cancelled"),
    ],
)
def test_verb__changes_a_replay(verb, before, after, replayer, dead):
    replay = replaying.start(replaying.Selection(), requested_by="somebody")
    Replay.objects.update(state=before)
    answer = replayer.post(f"{REPLAYS}{replay.pk}/{verb}/")
    assert answer.status_code == 200
    assert answer.json()["state"] == {"finished": "running"}.get(after, after)
    replay.refresh_from_db()
    assert replay.state == after
    has_run = ReceiverRun.objects.filter(trigger="replay").exists()
    assert has_run == (verb == "resume"), "only what goes on runs something"


@pytest.mark.parametrize(
    ("verb", "state"),
    [
        ("pause", "paused"),
        ("pause", "finished"),
        ("resume", "running"),
        ("resume", "cancelled"),
        ("cancel", "cancelled"),
        ("cancel", "finished"),
    ],
)
def test_verb__that_its_state_does_not_allow_is_a_conflict(verb, state, replayer, dead):
    replay = replaying.start(replaying.Selection(), requested_by="somebody")
    Replay.objects.update(state=state)
    answer = replayer.post(f"{REPLAYS}{replay.pk}/{verb}/")
    assert answer.status_code == 409
    assert answer.json() == {"detail": f"Replay {replay.pk} is {state}: nothing is changed."}
    replay.refresh_from_db()
    assert replay.state == state


@pytest.mark.parametrize("verb", ["pause", "resume", "cancel", "plan"])
def test_verb__is_never_done_by_looking(verb, admin_client, dead):
    replay = replaying.start(replaying.Selection(), requested_by="somebody")
    address = f"{REPLAYS}{verb}/" if verb == "plan" else f"{REPLAYS}{replay.pk}/{verb}/"
    assert admin_client.get(address).status_code == 405
    replay.refresh_from_db()
    assert replay.state == "running"


# The pages of REST framework


def test_page__has_a_form_that_plans_again_and_one_that_starts_nothing_as_it_is(admin_client, dead):
    asked = {"event": "bundle:*", "batch_size": "100", "receivers": "failed"}
    page = admin_client.post(PLAN, asked, headers={"Accept": "text/html"}).content.decode()
    assert 'name="matching"' not in page, "what was told is not what is asked"
    assert 'name="event"' in page
    page = admin_client.get(REPLAYS, headers={"Accept": "text/html"}).content.decode()
    assert 'name="up_to"' in page
    assert "invalid name" not in page


@pytest.mark.parametrize("address", [PLAN, REPLAYS])
def test_page__offers_no_form_to_whoever_may_only_look(address, person, dead):
    page = person("view_replay", "view_delivery").get(address, headers={"Accept": "text/html"})
    assert b'name="event"' not in page.content


@pytest.mark.parametrize(
    "asked",
    ['{"\\ud800": 1}', '{"state": ["\\ud800"]}', '{"receivers": "\\ud800"}', '{"search": "  "}']
    + ['{"project": ""}'],
)
@pytest.mark.parametrize("address", ["plan/", ""])
def test_plan__refuses_what_it_cannot_say_again(admin_client, asked, address):
    answer = admin_client.post(f"{REPLAYS}{address}", asked, content_type="application/json")
    assert answer.status_code == 400


@pytest.mark.parametrize("address", ["plan/", ""])
def test_plan__takes_nothing_from_the_address(admin_client, address):
    answer = admin_client.post(
        f"{REPLAYS}{address}?project=web", {"up_to": 1}, content_type="application/json"
    )
    assert answer.status_code == 400
    assert not Replay.objects.exists()

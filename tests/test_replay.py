"""Replays: what is opened again, what runs, and the way to it through the admin's pages."""

import json
import uuid
from datetime import timedelta

import pytest
from django.contrib.messages import get_messages
from django.test import Client
from django.utils import timezone

from perfsee_webhooks import replay
from perfsee_webhooks.admin.delivery import MAX_SELECTED
from perfsee_webhooks.models import Delivery, ReceiverRun, Replay

from .test_admin import DELIVERIES, Page, detail, store

pytestmark = pytest.mark.django_db


def stay_put(primary_key):
    """A PROCESSING that is told of a delivery and leaves it as it is."""


@pytest.fixture
def nothing_runs(webhook_setting):
    webhook_setting(PROCESSING=f"{__name__}.stay_put")


@pytest.fixture
def receivers(connect):
    """A receiver that succeeds and one that fails."""
    return connect(name="good"), connect(name="bad", side_effect=RuntimeError("it broke"))


def ask(client, *deliveries, query="", **data):
    """Select deliveries on the list and choose the action; return the page that answers."""
    selected = [delivery.pk for delivery in deliveries]
    asked = {"action": "replay_selected", "_selected_action": selected, **data}
    return client.post(DELIVERIES + query, asked)


def confirm(client, asked, **answers):
    return Page(asked).form_with("confirmed").submit(client, **answers)


def told(response):
    """The one message to the user, with its level."""
    (message,) = get_messages(response.wsgi_request)
    return f"{message.level_tag}: {message}"


def lease(delivery, expires_in):
    Delivery.objects.filter(pk=delivery.pk).update(
        state="processing",
        lease_token=uuid.uuid4(),
        lease_expires_at=timezone.now() + expires_in,
    )


# Starting a replay


def test_start__opens_again_and_records_who_asked_and_why(body):
    deliveries = [store(body) for _ in range(3)]
    Delivery.objects.update(
        state="dead", attempts=8, next_attempt_at=None, settled_at=timezone.now()
    )
    started = replay.start(
        Delivery.objects.filter(pk__in=[row.pk for row in deliveries[:2]]),
        requested_by="some\x00body",
        reason="mended\nthe receiver",
    )
    kept = Replay.objects.get()
    assert started.primary_keys == [row.pk for row in deliveries[:2]]
    assert (kept.accepted, kept.skipped, kept.receivers) == (2, 0, "failed")
    assert (kept.requested_by, kept.reason) == ("some�body", "mended�the receiver")
    opened = Delivery.objects.filter(replay=kept)
    assert set(opened.values_list("state", "attempts", "settled_at")) == {("received", 0, None)}
    assert opened.filter(next_attempt_at__lte=timezone.now()).count() == 2
    assert Delivery.objects.get(replay=None).state == "dead"


@pytest.mark.parametrize(
    ("expires_in", "is_opened"), [(timedelta(minutes=1), False), (-timedelta(minutes=1), True)]
)
def test_start__skips_what_is_being_run(delivery, expires_in, is_opened):
    lease(delivery, expires_in)
    started = replay.start(Delivery.objects.all(), requested_by="somebody")
    assert started.primary_keys == ([delivery.pk] if is_opened else [])
    assert (started.replay.accepted, started.replay.skipped) == (is_opened, not is_opened)
    delivery.refresh_from_db()
    assert delivery.state == ("received" if is_opened else "processing")


def test_start__returns_the_oldest_first(body):
    deliveries = [store(body) for _ in range(3)]
    for age, delivery in enumerate(deliveries):
        moment = timezone.now() - timedelta(days=age)
        Delivery.objects.filter(pk=delivery.pk).update(received_at=moment)
    started = replay.start(Delivery.objects.all(), requested_by="somebody")
    assert started.primary_keys == [delivery.pk for delivery in reversed(deliveries)]


# One delivery, from its page


@pytest.mark.parametrize(("chosen", "runs_of_good"), [("failed", 1), ("all", 2)])
def test_page__replays_one_delivery(admin_client, post, body, receivers, chosen, runs_of_good):
    good, bad = receivers
    post(body)
    delivery = Delivery.objects.get()
    assert delivery.state == "failed"
    bad.side_effect = None
    asked = Page(admin_client.get(detail(delivery))).form_with("action").submit(admin_client)
    assert dict(Page(asked).form_with("confirmed").fields)["receivers"] == "failed"
    assert "main @ feat/webhook passed, score 57" in Page(asked).text
    answer = confirm(admin_client, asked, receivers=chosen, reason="it is mended")
    assert answer.url == detail(delivery)
    kept = Replay.objects.get()
    assert told(answer) == f"success: Replay {kept.pk}: 1 delivery is run again."
    assert (kept.requested_by, kept.reason, kept.receivers) == ("admin", "it is mended", chosen)
    assert (good.call_count, bad.call_count) == (runs_of_good, 2)
    delivery.refresh_from_db()
    assert (delivery.state, delivery.replay, delivery.attempts) == ("succeeded", kept, 1)
    again = ReceiverRun.objects.filter(replay=kept)
    assert again.count() == runs_of_good
    assert {(run.trigger, run.requested_by, run.number, run.outcome) for run in again} == {
        ("replay", "admin", 2, "succeeded")
    }
    words = Page(admin_client.get(answer.url)).words
    assert "tests.bad run 2 (replay, asked for by admin)" in words


def test_page__shows_a_replay_that_fails_again(admin_client, post, body, receivers):
    post(body)
    delivery = Delivery.objects.get()
    answer = confirm(admin_client, ask(admin_client, delivery))
    words = Page(admin_client.get(answer.url)).words
    assert words.count("RuntimeError: it broke Traceback") == 2
    assert Delivery.objects.get().state == "failed"


# Several deliveries, from the list


def test_list__replays_those_selected(admin_client, post, body, receivers):
    _good, bad = receivers
    for _ in range(4):
        post(body)
    *selected, other = Delivery.objects.all()
    bad.side_effect = None
    asked = ask(admin_client, *selected)
    assert "run again on 3 deliveries" in Page(asked).words
    answer = confirm(admin_client, asked)
    assert told(answer) == f"success: Replay {Replay.objects.get().pk}: 3 deliveries are run again."
    assert answer.url == DELIVERIES
    assert set(Delivery.objects.filter(state="succeeded")) == set(selected)
    assert list(Delivery.objects.filter(state="failed")) == [other]


def test_list__asks_before_anything_is_run(admin_client, delivery, connect):
    receiver = connect()
    ask(admin_client, delivery)
    assert (Replay.objects.count(), receiver.call_count) == (0, 0)


def test_list__says_what_it_skips(admin_client, body, nothing_runs):
    running, waiting = store(body), store(body)
    lease(running, timedelta(minutes=1))
    answer = confirm(admin_client, ask(admin_client, running, waiting))
    assert told(answer).startswith("warning: ")
    assert "1 delivery is run again, 1 skipped since a process runs it just now." in told(answer)
    kept = Replay.objects.get()
    assert (kept.accepted, kept.skipped) == (1, 1)
    assert list(Delivery.objects.filter(replay=kept)) == [waiting]


def test_list__says_what_was_pruned_before_it_was_confirmed(admin_client, body, nothing_runs):
    deliveries = [store(body) for _ in range(3)]
    asked = ask(admin_client, *deliveries)
    deliveries[0].delete()
    answer = confirm(admin_client, asked)
    assert told(answer).startswith("warning: ")
    assert told(answer).endswith("2 deliveries are run again, 1 no longer there.")
    asked = ask(admin_client, *deliveries[1:])
    Delivery.objects.all().delete()
    answer = confirm(admin_client, asked)
    assert told(answer) == "error: Nothing is replayed: the selected deliveries are gone."
    assert Replay.objects.count() == 1


def test_list__replays_what_was_confirmed_whatever_the_filter_says_by_then(
    admin_client, body, nothing_runs
):
    deliveries = [store(body) for _ in range(3)]
    query = "?event=bundle%3Afinished&q=perf&state__exact=received"
    asked = ask(admin_client, *deliveries, query=query)
    Delivery.objects.filter(pk=deliveries[0].pk).update(state="failed")
    answer = confirm(admin_client, asked)
    assert Replay.objects.get().accepted == 3
    assert answer.url == DELIVERIES + query


@pytest.mark.parametrize(
    "filters", ["https://elsewhere.example/", "//elsewhere.example", "\r\nX: y"]
)
def test_list__leads_nowhere_else_afterwards(admin_client, body, nothing_runs, filters):
    asked = ask(admin_client, store(body), store(body))
    answer = confirm(admin_client, asked, filters=filters)
    assert answer.url.startswith(f"{DELIVERIES}?")
    assert "\n" not in answer.url


def many(number):
    moment = timezone.now()
    Delivery.objects.bulk_create(
        Delivery(delivery_id=str(key), event_type="x", body=b"{}", received_at=moment, state="dead")
        for key in range(number)
    )


@pytest.mark.parametrize("number", [60, MAX_SELECTED])
def test_list__replays_all_across_its_pages(admin_client, nothing_runs, number):
    many(number)
    asked = ask(admin_client, Delivery.objects.first(), select_across="1")
    assert f"run again on {number} deliveries" in Page(asked).words
    answer = confirm(admin_client, asked)
    assert f"{number} deliveries are run again." in told(answer)
    assert Replay.objects.get().accepted == number
    assert Delivery.objects.filter(state="received").count() == number


def test_list__refuses_more_than_a_form_can_hold(admin_client, nothing_runs):
    many(MAX_SELECTED + 1)
    answer = ask(admin_client, Delivery.objects.first(), select_across="1")
    assert f"error: Nothing is replayed: at most {MAX_SELECTED} deliveries" in told(answer)
    assert Replay.objects.count() == 0
    confirmed = {"confirmed": "yes", "receivers": "all", "select_across": "1"}
    ask(admin_client, Delivery.objects.first(), **confirmed)
    assert Replay.objects.count() == 0


@pytest.mark.parametrize(
    "answers",
    [{"receivers": "none"}, {"receivers": ""}, {"reason": "x" * 201}, {"reason": "a\x00b"}],
)
def test_list__asks_again_where_an_answer_will_not_do(admin_client, delivery, answers):
    asked = confirm(admin_client, ask(admin_client, delivery), **answers)
    assert asked.status_code == 200
    assert "errorlist" in asked.content.decode()
    assert Page(asked).form_with("confirmed") is not None
    assert Replay.objects.count() == 0


def test_list__is_safe_from_other_sites(admin_user, delivery):
    client = Client(enforce_csrf_checks=True)
    client.force_login(admin_user)
    confirmed = {"confirmed": "yes", "receivers": "all"}
    assert ask(client, delivery).status_code == 403
    assert ask(client, delivery, **confirmed).status_code == 403
    assert Replay.objects.count() == 0
    asked = Page(client.get(detail(delivery))).form_with("action").submit(client)
    assert confirm(client, asked).status_code == 302
    assert Replay.objects.count() == 1


def test_list__hands_over_to_the_engine_of_the_site(
    admin_client, post, body, webhook_setting, monkeypatch, django_capture_on_commit_callbacks
):
    handed: list[int] = []
    monkeypatch.setattr(f"{__name__}.stay_put", handed.append)
    webhook_setting(PROCESSING=f"{__name__}.stay_put")
    deliveries = [store(body) for _ in range(2)]
    asked = ask(admin_client, *deliveries)
    with django_capture_on_commit_callbacks(execute=True):
        confirm(admin_client, asked)
    assert handed == [delivery.pk for delivery in deliveries]


def test_confirmation__is_safe_with_hostile_content(admin_client, post):
    name = "<injected>\" injected onmouseover='x' </td></form>"
    project = {"id": name, "artifact": {"name": name, "branch": name}}
    value = {"eventType": "bundle:finished", "payload": {"data": {"project": project}}}
    delivery = store(json.dumps(value).encode(), **{"X-Perfsee-Hook-Project": "x"})
    asked = Page(ask(admin_client, delivery))
    assert asked.blocked == []
    assert asked.text.count(name) == 3
    assert dict(asked.form_with("confirmed").fields)["_selected_action"] == str(delivery.pk)

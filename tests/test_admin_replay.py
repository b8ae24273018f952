"""The admin's way to a replay: plan, start, progress, what can be done to it, and the dry run."""

from __future__ import annotations

import json
from datetime import timedelta
from functools import partial

import pytest
from django.contrib.messages import get_messages
from django.db import connection, transaction
from django.http import QueryDict
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from perfsee_webhooks.admin.planning import keys_query, plan_query
from perfsee_webhooks.admin.replay_form import PlanForm
from perfsee_webhooks.models import Delivery, ReceiverRun, Replay
from perfsee_webhooks.models.replay import MAX_COUNTED

from .figures import ran
from .replays import opened_again, stay_put
from .test_admin import DELIVERIES, REPLAYS, Page, detail, page, store
from .test_replay import dead, lease

pytestmark = pytest.mark.django_db

PLAN = f"{REPLAYS}plan/"


@pytest.fixture
def receivers(connect):
    """A receiver that succeeds and one that fails."""
    return connect(name="good"), connect(name="bad", side_effect=RuntimeError("it broke"))


def plan(client, query=""):
    response = client.get(PLAN + query)
    assert response.status_code == 200, response
    return Page(response)


def start(client, query="?event=", **answers):
    return (
        plan(client, query).form_with("csrfmiddlewaretoken", "batch_size").submit(client, **answers)
    )


def test_plan__counts_nothing_before_something_is_asked_for(admin_client, delivery):
    with CaptureQueriesContext(connection) as captured:
        shown = plan(admin_client)
    assert "What is to be replayed?" in shown.words
    assert not [query for query in captured if '"perfsee_webhooks_delivery"' in query["sql"]]
    assert "1 delivery would be run again" in plan(admin_client, "?event=").words


def select(client, *deliveries, query="", **data):
    """Select deliveries on the list and choose the action; return the answer."""
    selected = [delivery.pk for delivery in deliveries]
    asked = {"action": "replay_selected", "_selected_action": selected, **data}
    return client.post(DELIVERIES + query, asked)


def told(response):
    """The latest message to the user, with its level."""
    *_, message = get_messages(response.wsgi_request)
    return f"{message.level_tag}: {message}"


def do(client, replay, verb):
    return client.post(reverse("admin:perfsee_webhooks_replay_do", args=[replay.pk, verb]))


def selection_of(client, response):
    """Follow the list to the plan, start what it shows, and say what was selected."""
    assert response.url.startswith(f"{PLAN}?"), response.url
    start(client, response.url.removeprefix(PLAN))
    return Replay.objects.latest("pk").selection


# From the list and from the page of one to the plan


def test_list__leads_to_the_plan_of_those_selected(admin_client, body, nothing_runs):
    first, second, _other = (store(body) for _ in range(3))
    answer = select(admin_client, first, second)
    assert "2 deliveries would be run again" in page(admin_client, answer.url).words
    assert not Replay.objects.exists()
    assert selection_of(admin_client, answer) == {
        "primary_keys": [second.pk, first.pk],
        "up_to": second.pk,
    }
    assert Delivery.objects.exclude(replay=None).count() == 2


@pytest.mark.parametrize(
    ("query", "selection"),
    [
        ("", {}),
        ("?p=1&o=-1&all=", {}),
        ("?state__exact=dead", {"states": ["dead"]}),
        (
            "?event=bundle%3Afinished&project=perfsee",
            {"event": "bundle:finished", "project": "perfsee"},
        ),
        ("?event=other", {"other_events": True}),
        ("?q=main+x", {"search": "main x"}),
        ("?failure_group=abc", {"failure_group": "abc"}),
        (
            "?received_at__gte=2026-11-24 00%3A00%3A00%2B02%3A00",
            {"received_from": "2026-11-23T22:00:00+00:00"},
        ),
        (
            "?received_at__lt=2026-11-24 00%3A00%3A00%2B00%3A00",
            {"received_before": "2026-11-24T00:00:00+00:00"},
        ),
    ],
)
def test_list__leads_to_the_plan_of_all_that_its_filter_finds(
    admin_client, body, nothing_runs, query, selection
):
    row = store(body)
    answer = select(admin_client, row, query=query, select_across="1")
    form = PlanForm.prefilled(QueryDict(answer.url.partition("?")[2]))
    assert form.is_valid(), form.errors
    assert form.selection.as_json() == selection
    assert plan(admin_client, answer.url.removeprefix(PLAN)).form_with("batch_size") is not None


def test_list__does_not_take_a_filter_of_the_site_for_none():
    with pytest.raises(ValueError, match="can be narrowed to color=red: select the deliveries"):
        plan_query(QueryDict("color=red"))
    with pytest.raises(ValueError, match="no moment"):
        plan_query(QueryDict("received_at__gte=nonsense"))
    with pytest.raises(ValueError, match="the selected deliveries are gone"):
        keys_query([])


def test_list__says_that_the_selected_are_gone(admin_client, body):
    gone, kept = store(body), store(body)
    gone.delete()
    answer = admin_client.post(
        DELIVERIES, {"action": "replay_selected", "_selected_action": [gone.pk or 999_999]}
    )
    assert told(answer) == "error: Nothing is replayed: the selected deliveries are gone."
    assert kept in Delivery.objects.filter(replay=None)


def test_detail__leads_to_the_plan_and_to_the_dry_run(admin_client, delivery):
    links = page(admin_client, detail(delivery)).links
    assert f"{PLAN}?keys={delivery.pk}" in links
    assert reverse("admin:perfsee_webhooks_delivery_dry_run", args=[delivery.pk]) in links


# The plan


def test_plan__shows_what_would_happen(admin_client, post, body, receivers, webhook_setting):
    webhook_setting(MAX_ATTEMPTS=1)
    for _ in range(3):
        post(body)
    words = plan(admin_client, "?project=perfsee&receivers=all").words
    assert "3 deliveries would be run again, with 6 runs of receivers, 3 of them" in words
    assert "Chosen: project perfsee." in words
    assert "tests.bad 3 0" in words
    assert "tests.good 3 3" in words
    assert not Replay.objects.exists()


@pytest.mark.parametrize("query", ["?projects=perfsee", "?project=perfsee&state__exact=dead"])
def test_plan__refuses_what_narrows_nothing_down(admin_client, delivery, query):
    """Taken for nothing, a misspelt name would plan a replay of more than was meant."""
    words = plan(admin_client, query).words
    assert "narrows no replay down." in words
    assert "What would happen" not in words


def test_plan__says_what_is_left_alone(admin_client, body, connect, nothing_runs):
    connect()
    running, pruned, waiting, _free = dead(4)
    lease(running)
    Delivery.objects.filter(pk=pruned.pk).update(body_pruned_at=timezone.now())
    Delivery.objects.filter(pk=waiting.pk).update(state="failed")
    ran(waiting, "tests.gone")
    words = plan(admin_client, "?only=tests.receiver&limit=4").words
    assert "1 delivery would be run again, with 1 run of receivers" in words
    assert "1 left alone: being run just now." in words
    assert "1 left alone: their bytes have been pruned." in words, words
    assert (
        "1 left alone: they wait for an attempt of all their receivers, or for another replay."
        in words
    )
    assert "tests.gone has run on 1 of them and is not connected any more." in words
    words = plan(admin_client, "?limit=1").words
    assert "The limit takes 1 of 4 that match." in words
    assert "Nothing would be run." in words


def test_plan__of_many_says_which_it_is_about(admin_client, connect, nothing_runs):
    connect()
    dead(1001)
    words = plan(admin_client, "?states=dead").words
    assert (
        "1001 deliveries are selected. What follows is about the first 1000; those behind them "
        "are run as well. 1000 deliveries would be run again, with 1000 runs" in words
    )
    assert "The first 10 of 1001 deliveries" in words
    assert "What follows" not in plan(admin_client, "?states=dead&limit=1000").words


def test_plan__can_be_started_where_only_those_behind_would_be_run(
    admin_client, connect, nothing_runs
):
    connect()
    old = [row.pk for row in dead(1001)][:1000]
    Delivery.objects.filter(pk__in=old).update(body_pruned_at=timezone.now())
    words = plan(admin_client, "?states=dead").words
    assert "None of these would be run." in words
    assert "1000 left alone: their bytes have been pruned." in words
    assert "What receivers did outside this site’s database cannot be undone." in words
    assert "Nothing would be run." in plan(admin_client, "?states=dead&limit=1000").words


def test_plan__of_more_than_are_counted_says_so(admin_client, connect, nothing_runs):
    connect()
    dead(MAX_COUNTED + 1)
    words = plan(admin_client, "?states=dead").words
    assert "More than 10,000 deliveries are selected." in words
    words = plan(admin_client, "?states=dead&limit=2").words
    assert "The limit takes 2 of more than 10,000 that match." in words
    answer = start(admin_client, "?states=dead")
    assert told(answer).endswith("of more than 10,000 deliveries is started.")


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("?event=%2C", "names no event"),
        ("?keys=1,x", "named one by one by their numbers"),
        ("?keys=" + ",".join(["1"] * 1001), "At most 1000 deliveries"),
        ("?keys=" + "9" * 40, "named one by one by their numbers"),
        ("?states=nonsense", "Select a valid choice"),
        ("?received_from=nonsense", "Enter a valid date/time"),
        ("?only=tests.nobody", "Select a valid choice"),
        ("?receivers=none", "Select a valid choice"),
        ("?limit=0", "greater than or equal to 1"),
        ("?batch_size=x", "Enter a whole number"),
        ("?replay=" + "9" * 30, "less than or equal to"),
        ("?replay=-1", "greater than or equal to 1"),
        ("?received_from=0001-01-01T00%3A00%3A00", "No delivery is from before 2000."),
        ("?project=a%00b", "Null characters are not allowed"),
    ],
)
def test_plan__says_what_it_cannot_take(admin_client, delivery, query, error):
    shown = plan(admin_client, query)
    assert error in shown.words
    assert shown.form_with("csrfmiddlewaretoken", "batch_size") is None, "nothing can be started"


def test_plan__is_safe_with_hostile_content(admin_client, connect):
    name = "<injected>\" injected onmouseover='x' </td></form>"
    connect(name=name)
    project = {"id": name, "artifact": {"name": name, "branch": name}}
    value = {"eventType": "bundle:finished", "payload": {"data": {"project": project}}}
    store(json.dumps(value).encode(), **{"X-Perfsee-Hook-Project": "x"})
    shown = plan(admin_client, "?search=%3Cinjected%3E%22")
    assert shown.blocked == []
    assert "<injected>" in shown.text


def test_plan__executes_the_same_statements_for_any_number(admin_client, receivers):
    counts = []
    for _ in range(2):
        dead(30)
        with CaptureQueriesContext(connection) as captured:
            plan(admin_client)
        assert not any('"body"' in query["sql"] for query in captured.captured_queries)
        counts.append(len(captured))
    assert counts[0] == counts[1]


# Starting what was shown


def test_start__runs_what_was_shown(admin_client, post, body, receivers):
    good, bad = receivers
    for _ in range(3):
        post(body)
    bad.side_effect = None
    answer = start(admin_client, "?project=perfsee&states=failed", reason="it is mended")
    kept = Replay.objects.get()
    assert answer.url == detail(kept)
    assert told(answer) == f"success: Replay {kept.pk} of 3 deliveries is started."
    assert (kept.requested_by, kept.reason, kept.state) == ("admin", "it is mended", "finished")
    newest = Delivery.objects.order_by("pk").last()
    assert newest is not None
    assert kept.selection == {"project": "perfsee", "states": ["failed"], "up_to": newest.pk}
    assert (good.call_count, bad.call_count) == (3, 6)
    assert Delivery.objects.filter(state="succeeded", replay=kept).count() == 3
    words = page(admin_client, detail(kept)).words
    assert "3 of 3 done" in words
    assert "project perfsee, state failed" in words


def test_start__takes_nothing_that_came_in_since(admin_client, nothing_runs):
    dead(2)
    shown = plan(admin_client, "?states=dead").form_with("csrfmiddlewaretoken", "batch_size")
    dead(1)
    shown.submit(admin_client)
    assert Replay.objects.get().accepted == 2


def test_start__keeps_the_order(admin_client, connect, nothing_runs):
    connect(name="one")
    connect(name="two")
    dead(3)
    query = "?only=tests.one&only=tests.two&receivers=all&limit=2&batch_size=1&per_minute=60"
    start(admin_client, query)
    kept = Replay.objects.get()
    assert (kept.only, kept.receivers) == (["tests.one", "tests.two"], "all")
    assert (kept.selected, kept.batch_size, kept.per_minute) == (2, 1, 60)
    assert (kept.accepted, kept.state) == (1, "running")


def test_start__takes_nothing_that_has_not_been_shown(admin_client, nothing_runs):
    dead(2)
    assert admin_client.post(PLAN, {}).status_code == 200
    assert admin_client.post(PLAN, {"receivers": "all", "batch_size": "9"}).status_code == 200
    assert not Replay.objects.exists()


def test_start__takes_nothing_else_where_what_was_shown_has_gone(admin_client, nothing_runs):
    (shown,) = dead(1)
    form = plan(admin_client, "?states=dead").form_with("csrfmiddlewaretoken", "batch_size")
    Delivery.objects.filter(pk=shown.pk).update(state="succeeded")
    dead(1)
    form.submit(admin_client)
    assert Replay.objects.get().accepted == 0
    assert not Delivery.objects.exclude(replay=None).exists()


@pytest.mark.parametrize("query", ["project=", "event=lab:*", "event=a,b", "state__exact="])
def test_list__does_not_widen_to_what_it_does_not_show(query):
    with pytest.raises(ValueError, match="select the deliveries"):
        plan_query(QueryDict(query))


def test_list__takes_each_value_of_a_filter():
    assert plan_query(QueryDict("state__exact=dead&state__exact=failed")) == (
        "states=dead&states=failed"
    )


@pytest.mark.parametrize("reason", ["x" * 201, "a\x00b"])
def test_start__asks_again_where_the_reason_will_not_do(admin_client, delivery, reason):
    answer = start(admin_client, reason=reason)
    assert answer.status_code == 200
    assert "errorlist" in answer.content.decode()
    assert not Replay.objects.exists()


def test_start__is_safe_from_other_sites(admin_user, delivery):
    client = Client(enforce_csrf_checks=True)
    client.force_login(admin_user)
    assert client.post(PLAN, {"receivers": "all", "batch_size": "1"}).status_code == 403
    assert not Replay.objects.exists()
    assert start(client).status_code == 302
    assert do(client, Replay.objects.get(), "cancel").status_code == 403


def test_start__hands_over_to_the_engine_of_the_site(
    admin_client, body, webhook_setting, monkeypatch
):
    handed: list[int] = []
    monkeypatch.setattr("tests.replays.stay_put", handed.append)
    webhook_setting(PROCESSING="tests.replays.stay_put")
    deliveries = [store(body) for _ in range(2)]
    start(admin_client)
    assert handed == [delivery.pk for delivery in deliveries]


# Progress, and what can be done


@pytest.fixture
def running(nothing_runs):
    """A replay of three that has opened one and may open another in an hour."""
    dead(3)
    replay = opened_again(batch_size=1)
    Replay.objects.update(next_batch_at=timezone.now() + timedelta(hours=1))
    replay.refresh_from_db()
    return replay


def test_progress__counts_what_became_of_them(admin_client, running):
    Delivery.objects.filter(replay=running).update(state="dead", settled_at=timezone.now())
    shown = page(admin_client, reverse("admin:perfsee_webhooks_replay_progress", args=[running.pk]))
    assert "1 of 3 done" in shown.words
    assert "1 opened again, 2 to go." in shown.words
    assert "1 dead" in shown.words
    assert f"{DELIVERIES}?replay={running.pk}&state__exact=dead" in shown.links


def test_progress__of_many_that_were_not_counted_yet(admin_client):
    many = Replay.objects.create(requested_by="ada", selected=None)
    progress = reverse("admin:perfsee_webhooks_replay_progress", args=[many.pk])
    assert "0 of more than 10,000 done" in page(admin_client, progress).words
    assert b' id="perfsee-settled"></progress>' in admin_client.get(progress).content
    listed = page(admin_client, reverse("admin:perfsee_webhooks_replay_changelist"))
    assert "0 of more than 10,000" in listed.words


def test_progress__says_what_a_later_replay_has_taken_over(admin_client, running):
    opened_again()
    words = page(admin_client, detail(running)).words
    assert "1 of those opened belong to a later replay by now." in words


def test_progress__says_where_nobody_is_at_work(admin_client, running):
    assert "Nobody is at work on it" not in page(admin_client, detail(running)).words
    Replay.objects.update(next_batch_at=timezone.now())
    assert "Nobody is at work on it" not in page(admin_client, detail(running)).words
    Delivery.objects.update(state="dead")
    assert "Nobody is at work on it" not in page(admin_client, detail(running)).words
    Replay.objects.update(next_batch_at=timezone.now() - timedelta(minutes=1))
    shown = page(admin_client, detail(running))
    assert "Nobody is at work on it" in shown.words
    assert do(admin_client, running, "continue").status_code == 302
    assert Replay.objects.get().state == "finished"


def test_progress__executes_the_same_statements_for_any_number(admin_client, running):
    counts = []
    for _ in range(2):
        with CaptureQueriesContext(connection) as captured:
            page(admin_client, detail(running))
        counts.append(len(captured))
        dead(30)
        Delivery.objects.update(replay=running)
    assert counts[0] == counts[1]


def test_list_of_replays__executes_the_same_statements_for_any_number(admin_client, running):
    counts = []
    for _ in range(2):
        with CaptureQueriesContext(connection) as captured:
            assert PLAN in page(admin_client, REPLAYS).links
        counts.append(len(captured))
        for _ in range(20):
            Replay.objects.create(requested_by="somebody")
    assert counts[0] == counts[1]


def test_do__pauses_resumes_and_cancels(admin_client, running):
    answer = do(admin_client, running, "pause")
    assert told(answer) == (
        f"success: Replay {running.pk} is paused. What was opened already still runs."
    )
    assert "Resume" in page(admin_client, detail(running)).text
    assert told(do(admin_client, running, "pause")).startswith("warning: ")
    assert do(admin_client, running, "resume").url == detail(running)
    running.refresh_from_db()
    assert (running.state, running.accepted) == ("running", 1), "it has to wait as before"
    Replay.objects.update(next_batch_at=timezone.now())
    do(admin_client, running, "pause")
    do(admin_client, running, "resume")
    running.refresh_from_db()
    assert (running.state, running.accepted) == ("finished", 3)
    assert told(do(admin_client, running, "cancel")) == (
        f"warning: Replay {running.pk} is finished: nothing is changed."
    )


def test_do__cancels_for_good(admin_client, running):
    do(admin_client, running, "cancel")
    do(admin_client, running, "resume")
    running.refresh_from_db()
    assert (running.state, running.accepted) == ("cancelled", 1)
    assert "2 never looked at" in page(admin_client, detail(running)).words


@pytest.mark.parametrize("verb", ["delete", "finish", "move"])
def test_do__knows_no_other_verb(admin_client, running, verb):
    assert do(admin_client, running, verb).status_code == 404


def test_do__finds_no_replay_that_is_not_there(admin_client):
    missing = Replay(pk=999_999)
    assert do(admin_client, missing, "pause").status_code == 404
    progress = reverse("admin:perfsee_webhooks_replay_progress", args=[missing.pk])
    assert admin_client.get(progress).status_code == 404


def test_do__takes_no_get(admin_client, running):
    address = reverse("admin:perfsee_webhooks_replay_do", args=[running.pk, "cancel"])
    assert admin_client.get(address).status_code == 405
    assert Replay.objects.get().state == "running"


# Who may


def test_permissions__shows_no_button_that_is_not_allowed(person, running):
    client = person("view_replay", "view_delivery")
    assert "Pause" not in page(client, detail(running)).text
    assert PLAN not in page(client, REPLAYS).links
    assert "Replay selected" not in page(client, DELIVERIES).text


# The dry run


def dry_run(client, delivery, **answers):
    address = reverse("admin:perfsee_webhooks_delivery_dry_run", args=[delivery.pk])
    shown = page(client, address)
    return Page(shown.form_with("only").submit(client, **answers))


def test_dry_run__asks_first(admin_client, delivery, connect):
    receiver = connect()
    address = reverse("admin:perfsee_webhooks_delivery_dry_run", args=[delivery.pk])
    shown = page(admin_client, address)
    assert "is done and is not undone" in shown.words
    assert receiver.call_count == 0


def test_dry_run__shows_what_was_taken_back(admin_client, delivery, connect):
    def write(sender, delivery, event, **kwargs):
        Delivery.objects.update(summary="written")
        transaction.on_commit(partial(stay_put, delivery.pk))

    connect(name="writer", side_effect=write)
    connect(name="broken", side_effect=RuntimeError("it <b>broke</b>"))
    shown = dry_run(admin_client, delivery)
    assert "Succeeded tests.writer" in shown.words
    assert "1 SQL statement in" in shown.words
    assert "and not called: tests.replays.stay_put" in shown.words
    assert "RuntimeError: it <b>broke</b> Traceback" in shown.words
    assert shown.blocked == []
    assert Delivery.objects.get().summary != "written"
    assert not ReceiverRun.objects.exists()


def test_dry_run__of_some_receivers(admin_client, delivery, connect):
    one, two = connect(name="one"), connect(name="two")
    dry_run(admin_client, delivery, only=["tests.one"])
    assert (one.call_count, two.call_count) == (1, 0)
    shown = dry_run(admin_client, delivery, only=[])
    assert "This field is required" in shown.words
    assert (one.call_count, two.call_count) == (1, 0)


def test_dry_run__of_what_cannot_be_run(admin_client, delivery, connect):
    address = reverse("admin:perfsee_webhooks_delivery_dry_run", args=[delivery.pk])
    assert "No connected receiver is for this delivery." in page(admin_client, address).words
    receiver = connect()
    Delivery.objects.update(body_pruned_at=timezone.now())
    assert "Its bytes have been pruned" in page(admin_client, address).words
    admin_client.post(address, {"only": ["tests.receiver"]})
    assert receiver.call_count == 0
    missing = reverse("admin:perfsee_webhooks_delivery_dry_run", args=[999_999])
    assert admin_client.get(missing).status_code == 404


def test_progress__is_a_number_to_a_browser_on_a_site_that_groups_digits(admin_client, settings):
    settings.USE_THOUSAND_SEPARATOR = True
    asked = Replay.objects.create(requested_by="somebody", selected=4000, skipped=2000)
    shown = admin_client.get(f"/admin/perfsee_webhooks/replay/{asked.pk}/change/")
    assert 'max="4000" value="2000"' in shown.content.decode()

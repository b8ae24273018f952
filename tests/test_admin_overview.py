"""The overview: what it shows and to whom, how much it reads, and what it lets through."""

import re
from datetime import timedelta

import pytest
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from example_project.security import POLICY
from perfsee_webhooks.admin import overview
from perfsee_webhooks.models import Delivery, Heartbeat, Replay
from perfsee_webhooks.overview import buckets

from .figures import came, failed, moment, ran, refused
from .test_admin import DELIVERIES, MARKUP, REJECTIONS, Page, page

pytestmark = pytest.mark.django_db

OVERVIEW = f"{DELIVERIES}overview/"
NOW = moment("2026-11-24T12:30")
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

ALL_RIGHTS = ("view_delivery", "replay_delivery", "view_rejection", "view_replay")

# Twelve of the page itself, and of Django's admin: session, user, permissions of user and groups.
MAX_STATEMENTS = 17


@pytest.fixture(autouse=True)
def _now():
    with time_machine.travel(NOW, tick=False):
        yield


def fill(prefix="", number=1):
    """Store a bit of everything that the page shows."""
    for index in range(number):
        name = f"{prefix}{index}"
        for days in (20, 19, 18):
            for _ in range(2):
                came(NOW - days * DAY, project=name, hook_id=name)
        for state in ("received", "failed", "dead", "unhandled"):
            failed(came(NOW - HOUR, state, project=name), name, failure_group=name[-16:])
        refused(NOW - HOUR, not_kept=1)
        Replay.objects.create(requested_by=name, state="paused", selected=9, accepted=4)


# Who may see it


def test_rights__refusals_replays_and_the_door_to_a_replay_have_their_own(person):
    fill()
    only = page(person("view_delivery"), OVERVIEW)
    assert "Refused" not in only.text
    assert "refused" not in only.text
    assert "Replay 1" not in only.words
    assert "Replay this group" not in only.text
    assert "Failures that are alike" in only.text
    assert not [link for link in only.links if "/replay/" in link or "/rejection/" in link]


def test_rights__each_opens_what_it_is_for(person):
    fill()
    shown = page(person(*ALL_RIGHTS), OVERVIEW)
    assert "Replay this group…" in shown.text
    assert f"/admin/perfsee_webhooks/replay/{Replay.objects.get().pk}/change/" in shown.links
    assert [link for link in shown.links if link.startswith(f"{REJECTIONS}?reason__exact=")]


def test_list__links_to_the_overview(admin_client):
    assert OVERVIEW in page(admin_client, DELIVERIES).links
    assert DELIVERIES in page(admin_client, OVERVIEW).links


# What it shows


def test_overview__of_an_empty_database(admin_client):
    words = page(admin_client, OVERVIEW).words
    for sentence in (
        "Nothing needs attention: no delivery is dead or overdue, no project has gone silent, and",
        "and no request was refused in the last 24 hours.",
        "Nothing waits, and nothing is dead or without a receiver.",
        "The sweep has not run yet.",
        "No request was refused.",
        "No delivery came within the last 24 hours.",
        "No delivery came within the last 30 days.",
        "No receiver has been run yet.",
        "No receiver has failed within the last 30 days.",
        "Nothing has been heard of any project within the last 30 days.",
    ):
        assert sentence in words


def test_attention__says_what_has_to_be_done(admin_client):
    for days in (9, 8, 7):
        for _ in range(2):
            came(NOW - days * DAY, project="web", hook_id="a")
    came(NOW - 3 * HOUR, "dead")
    came(NOW, "received", handed_over_at=None)
    refused(NOW - HOUR, not_kept=2)
    words = page(admin_client, OVERVIEW).words
    assert "1 dead delivery. A receiver still failed at the last attempt" in words
    assert "The oldest came 3 hours ago." in words
    assert "1 overdue delivery. Nobody was told to run it within the last 5 minutes" in words
    assert "The sweep has never run. Yet deliveries wait" in words
    assert "Gone silent: web for 7 days." in words
    assert "1 request refused in the last 24 hours, and 2 more that were not kept." in words


def test_attention__is_not_asked_for_what_goes_well(admin_client):
    came(NOW - HOUR, "unhandled")
    came(NOW, "failed", next_attempt_at=NOW + HOUR)
    Heartbeat.objects.create(name="sweep", beat_at=NOW - timedelta(seconds=10))
    words = page(admin_client, OVERVIEW).words
    assert "Nothing needs attention" in words
    assert "Last sweep: 10 seconds ago 2026-11-24 12:29:50" in words


def test_attention__tells_of_a_sweep_that_has_stopped(admin_client):
    came(NOW, "failed", next_attempt_at=NOW + HOUR)
    Heartbeat.objects.create(name="sweep", beat_at=NOW - 3 * HOUR)
    words = page(admin_client, OVERVIEW).words
    assert "The sweep is silent. It last ran 3 hours ago, and deliveries wait" in words


def test_standing__shows_what_waits_and_leads_to_it(admin_client):
    came(NOW - 4 * HOUR, "failed", next_attempt_at=NOW + HOUR)
    came(NOW - 2 * DAY, "unhandled")
    came(NOW - HOUR, "received", next_attempt_at=NOW - HOUR)
    Replay.objects.create(requested_by="ada", selected=340, accepted=120, skipped=2)
    Replay.objects.create(requested_by="bob", state="finished")
    Replay.objects.create(requested_by="eve", selected=None)
    shown = page(admin_client, OVERVIEW)
    assert (
        "Failed 1 4 hours ago 2026-11-24 08:30:00 in 60 minutes 2026-11-24 13:30:00" in shown.words
    )
    assert "Received 1 1 overdue 60 minutes ago" in shown.words
    assert "Unhandled 1 2 days ago 2026-11-22 12:30:00 –" in shown.words
    assert "by ada is running: 122 of 340 deliveries looked at." in shown.words
    assert "by eve is running: 0 of more than 10,000 deliveries looked at." in shown.words
    assert "bob" not in shown.words
    for state in ("failed", "unhandled", "received"):
        response = admin_client.get(f"{DELIVERIES}?state__exact={state}")
        assert f"{DELIVERIES}?state__exact={state}" in shown.links
        assert [row.state for row in response.context["cl"].result_list] == [state]


def test_refusals__lead_to_the_list_of_them(admin_client):
    refused(NOW - DAY + HOUR)
    refused(NOW - HOUR, "malformed", not_kept=5)
    refused(NOW - DAY - HOUR)
    shown = page(admin_client, OVERVIEW)
    assert "Malformed request 1 5 Wrong signature 1 0" in shown.words
    (link,) = (link for link in shown.links if "reason__exact=wrong_signature" in link)
    response = admin_client.get(link)
    assert [row.received_at for row in response.context["cl"].result_list] == [NOW - DAY + HOUR]


def test_charts__tell_each_hour_and_day(admin_client):
    for minutes in (1, 2, 61):
        came(NOW - timedelta(minutes=minutes))
    came(NOW - timedelta(minutes=62), "dead")
    came(NOW - 3 * DAY, "received")
    response = admin_client.get(OVERVIEW)
    titles = re.findall(r"<title>(.*)</title>", response.text)
    assert "12:00–13:00: 2 succeeded" in titles
    assert "11:00–12:00: 1 succeeded, 1 dead" in titles
    assert "10:00–11:00: none" in titles
    assert "Tue 2026-11-24: 3 succeeded, 1 dead" in titles
    assert "Sat 2026-11-21: 1 received" in titles
    assert len([title for title in titles if ": none" in title]) == 22 + 28
    words = Page(response).words
    assert "25.0 % failed: 1 of the 4 that were processed failed for now or for good." in words
    assert "Succeeded 3 Received 1 Dead 1" in words
    assert "Hour Succeeded Dead 13:00–14:00 0 0 14:00–15:00 0 0" in words
    assert "11:00–12:00 1 1 12:00–13:00 2 0" in words
    assert "Sun 2026-11-22 0 0 0 Mon 2026-11-23 0 0 0 Tue 2026-11-24 3 0 1" in words


def test_charts__say_that_many_are_counted_for_fewer_days(admin_client, monkeypatch):
    for day in (0, 1, 1, 2, 2):
        came(NOW - timedelta(days=day), project="web")
    assert "Deliveries of the last 30 days" in page(admin_client, OVERVIEW).words
    monkeypatch.setattr(buckets, "MAX_ARRIVALS", 4)
    monkeypatch.setattr(buckets, "MIN_DAYS", 2)
    words = page(admin_client, OVERVIEW).words
    assert "Deliveries of the last 2 days" in words
    assert (
        "So many that of the last 30 days only those are counted, here and under projects and "
        "hooks, that the newest 4 deliveries came on, and no fewer than 2. Who has been silent for "
        "longer is not seen." in words
    )
    assert "Deliveries in 2 days" in words


def test_charts__are_named_for_a_screen_reader(admin_client):
    came(NOW)
    text = admin_client.get(OVERVIEW).text
    charts = re.findall(r'<svg role="img".*? aria-labelledby="(\S+) (\S+)">', text)
    assert len(charts) == 2
    for title, described in charts:
        assert len(re.findall(rf'<title id="{title}">[^<]+</title>', text)) == 1
        assert (
            len(re.findall(rf'<desc id="{described}">From [^<]+: 1 succeeded.</desc>', text)) == 1
        )
    assert text.count("<summary>The same as a table</summary>") == 2
    levels = [int(level) for level in re.findall(r"<h(\d)", text)]
    assert levels[levels.index(1) :] == [1] + [2] * 8


@pytest.mark.parametrize(
    ("zone", "hour", "day"),
    [
        ("Asia/Shanghai", "00:00–01:00: 1 succeeded", "Tue 2026-11-24: 1 succeeded"),
        ("America/New_York", "11:00–12:00: 1 succeeded", "Mon 2026-11-23: 1 succeeded"),
    ],
)
def test_charts__are_in_the_time_zone_of_the_site(admin_client, settings, zone, hour, day):
    settings.TIME_ZONE = zone
    came("2026-11-23T16:59")
    response = admin_client.get(OVERVIEW)
    titles = re.findall(r"<title>(.*)</title>", response.text)
    assert {hour, day} <= set(titles)
    assert f"time zone {zone}." in Page(response).words


def test_charts__name_the_zone_where_the_clocks_are_changed(admin_client, settings):
    settings.TIME_ZONE = "Europe/Berlin"
    with time_machine.travel("2026-10-25T11:00Z", tick=False):
        came("2026-10-25T00:30")
        came("2026-10-25T01:30", "dead")
        titles = re.findall(r"<title>(.*)</title>", admin_client.get(OVERVIEW).text)
    assert "02:00 CEST–02:00 CET: 1 succeeded" in titles
    assert "02:00 CET–03:00 CET: 1 dead" in titles


@pytest.mark.parametrize("language", ["de", "en"])
def test_charts__have_measures_that_a_browser_reads(admin_client, settings, language):
    settings.LANGUAGE_CODE = language
    settings.USE_THOUSAND_SEPARATOR = True
    Delivery.objects.bulk_create(
        Delivery(delivery_id=str(number), received_at=NOW, state="succeeded", body=b"")
        for number in range(1_234)
    )
    _head, _own, text = admin_client.get(OVERVIEW).text.partition('id="content-main"')
    text = text.partition("</main>")[0]
    measures = re.findall(r' (?:x|x1|x2|y|y1|y2|width|height)="([^"]*)"', text)
    assert len(measures) > 300
    assert [measure for measure in measures if not re.fullmatch(r"-?[\d.]+%?", measure)] == []
    assert {"de": "1.234", "en": "1,234"}[language] in text


def test_receivers__show_how_long_they_take(admin_client):
    delivery = came(NOW - HOUR)
    for seconds in (1, 2, 3):
        ran(delivery, "tests.slow", duration=timedelta(seconds=seconds))
    failed(delivery, "tests.quick", duration=timedelta(milliseconds=1.25))
    ran(delivery, "tests.lost", outcome="lost")
    words = page(admin_client, OVERVIEW).words
    assert "Over the latest 5 runs" in words
    assert "tests.slow 3 0 (0.0 %) 2,000.0 ms 2,900.0 ms" in words
    assert re.search(r"tests\.quick 1 1 \(100\.0 %\) 1\.[23] ms 1\.[23] ms", words)
    assert "tests.lost 1 1 (100.0 %) – –" in words


def test_failure_groups__lead_to_the_latest_and_to_a_replay(admin_client):
    first, second = came(NOW - 5 * HOUR), came(NOW - 3 * HOUR, summary="web passed")
    failed(first)
    failed(second, exception="RuntimeError: at last")
    mended = came(NOW - 9 * HOUR)
    failed(mended, "tests.mended", failure_group="mended")
    ran(mended, "tests.mended")
    shown = page(admin_client, OVERVIEW)
    assert (
        "tests.receiver RuntimeError: at last receivers.py:7 Latest: web passed "
        "Replay this group… 2 2 5 hours ago 2026-11-24 07:30:00 3 hours ago" in shown.words
    )
    assert (
        f"tests.mended RuntimeError: it broke receivers.py:7 Latest: {mended.delivery_id} 0 1"
        in (shown.words)
    )
    assert f"{DELIVERIES}{second.pk}/change/" in shown.links
    assert shown.text.count("Replay this group") == 1
    (plan,) = (link for link in shown.links if "/replay/plan/" in link)
    assert plan.endswith("?failure_group=one")
    assert admin_client.get(plan).status_code == 200
    response = admin_client.get(f"{DELIVERIES}?failure_group=one")
    assert f"{DELIVERIES}?failure_group=one" in shown.links
    assert set(response.context["cl"].result_list) == {first, second}


def test_rhythms__say_who_has_gone_silent(admin_client):
    for hours in (72 + 7, 72 + 6, 72 + 5, 72 + 4, 72):
        came(NOW - timedelta(hours=hours), project="a/b&c", hook_id="hook-1")
    came(NOW - timedelta(hours=72 + 13), project="a/b&c", hook_id="hook-1")
    for hours in (30, 29, 20, 5, 1):
        came(NOW - timedelta(hours=hours), project="lively", hook_id="hook-2")
    came(NOW - 2 * HOUR)
    shown = page(admin_client, OVERVIEW)
    assert (
        "a/b&c hook hook-1 Silent for 3 days ; its longest pause in 30 days was 6 hours. "
        "3 days ago 2026-11-21 12:30:00 6" in shown.words
    )
    assert "lively hook hook-2 As usual; its longest pause was 15 hours." in shown.words
    assert "no project no hook id Too few to tell. 2 hours ago" in shown.words
    order = [shown.words.rindex(text) for text in ("Silent for", "lively", "no project")]
    assert order == sorted(order)
    (link,) = (link for link in shown.links if link.startswith(f"{DELIVERIES}?project=a"))
    response = admin_client.get(link)
    assert {row.project for row in response.context["cl"].result_list} == {"a/b&c"}


def test_rhythms__are_bounded(admin_client, monkeypatch):
    monkeypatch.setattr(overview, "MAX_RHYTHMS", 2)
    for number in range(4):
        came(NOW - number * HOUR, project=f"project-{number}")
    words = page(admin_client, OVERVIEW).words
    assert "project-1" in words
    assert "project-2" not in words
    assert "2 more pairs of project and hook are not shown." in words


# How much it reads, and what it lets through


@pytest.mark.parametrize("is_superuser", [True, False])
def test_overview__reads_the_same_few_statements_for_any_number_of_rows(
    admin_client, client, person, is_superuser
):
    browser = admin_client if is_superuser else person(*ALL_RIGHTS)
    counts = []
    for number in (1, 60):
        fill(f"{number}-", number)
        with CaptureQueriesContext(connection) as captured:
            assert browser.get(OVERVIEW).status_code == 200
        counts.append(len(captured))
        read = [query["sql"] for query in captured]
        assert not [sql for sql in read if '."body"' in sql or '."headers"' in sql]
        assert len([sql for sql in read if '"perfsee_webhooks_' in sql]) == 13
    assert counts[0] == counts[1] <= MAX_STATEMENTS


def test_overview__is_safe_with_hostile_content(admin_client):
    texts = dict.fromkeys(("project", "hook_id", "summary"), MARKUP[:100])
    for days in (9, 8, 7):
        for _ in range(2):
            came(NOW - days * DAY, "dead", **texts)
    delivery = came(NOW - 7 * DAY, "dead", **texts)
    failed(delivery, MARKUP, exception=MARKUP, place=MARKUP, failure_group='"><injected>')
    Replay.objects.create(requested_by=MARKUP)
    refused(NOW, '"><injected>')
    response = admin_client.get(OVERVIEW)
    shown = Page(response)
    assert shown.blocked == []
    assert shown.text.count("<script>alert(1)</script>") >= 8


def test_overview__needs_nothing_that_a_strict_policy_forbids(admin_client):
    fill()
    response = admin_client.get(OVERVIEW)
    assert response["Content-Security-Policy"] == POLICY
    assert Page(response).blocked == []
    assert "perfsee_webhooks/admin.css" in response.text
    addresses = re.findall(r'(?:src|href)="([^"]+)"', response.text)
    assert [a for a in addresses if a.startswith(("http:", "//"))] == []
    own = response.text[response.text.index('id="content-main"') :]
    assert "<script" not in own.partition("</main>")[0]


def test_overview__does_without_time_zones(admin_client, settings):
    settings.USE_TZ = False
    came(timezone.now())
    shown = page(admin_client, OVERVIEW)
    assert "Succeeded 1" in shown.words

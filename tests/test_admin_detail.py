"""The page of one delivery: what it shows, in what order, with how much reading, and how safely."""

import base64
import json
import logging
import re
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import given

from perfsee_webhooks.admin.json_tree import Shape, foldable
from perfsee_webhooks.admin.previous import MAX_COMPARED_BYTES, MAX_SHOWN_DIFFERENCES, Row
from perfsee_webhooks.admin.received import MAX_FOLDABLE_PARTS, MAX_SHOWN_BYTES, WITHHELD, Received
from perfsee_webhooks.admin.timeline import MAX_SHOWN_RUNS
from perfsee_webhooks.comparison import differences
from perfsee_webhooks.exceptions import GiveUp
from perfsee_webhooks.models import Delivery, ReceiverRun, Rejection, Replay
from perfsee_webhooks.models.repeating import MAX_LOGGED_REPEATS
from perfsee_webhooks.processing import process
from perfsee_webhooks.samples import sample_body
from perfsee_webhooks.text import pretty_json

from .strategies import ANY_JSON
from .test_admin import DELIVERIES, MARKUP, REVERSED, Page, bundle, detail, page, store

pytestmark = pytest.mark.django_db

HOSTILE_HEADER = (MARKUP + REVERSED).encode().decode("latin-1")


def run_of(delivery, number, minutes_ago=0, **fields):
    """Store a run of a receiver as it is once it has ended."""
    known = {
        "receiver": "tests.receiver",
        "attempt": 1,
        "trigger": "replay" if fields.get("replay") else "first",
        "outcome": "succeeded",
        "started_at": timezone.now() - timedelta(minutes=minutes_ago),
        "duration": timedelta(milliseconds=7),
    }
    return ReceiverRun.objects.create(delivery=delivery, number=number, **{**known, **fields})


def received_before(delivery, minutes):
    moment = timezone.now() - timedelta(minutes=minutes)
    Delivery.objects.filter(pk=delivery.pk).update(received_at=moment)


# Its fields, by who vouches for them


def test_detail__shows_payload_headers_and_arrival(admin_client, delivery):
    shown = page(admin_client, detail(delivery))
    assert '{\n  "eventType": "bundle:finished",\n  "payload": {\n    "data": {\n' in shown.text
    assert "Perfsee-Hookshot/1" in shown.text
    assert delivery.headers["X-Perfsee-Hook-ID"] in shown.text
    assert delivery.body_sha256 in shown.text
    assert f"{delivery.received_at:%Y-%m-%d %H:%M:%S}" in shown.text
    assert "No receiver was run yet." in shown.text


def test_detail__separates_what_was_signed_from_what_nobody_signed(admin_client, delivery):
    words = page(admin_client, detail(delivery)).words
    signed, _, rest = words.partition("What was signed")[2].partition("Timeline")
    assert "was signed with the secret at SECRETS[0]" in signed
    for name in ("Summary", "Event type", "Project", "Branch", "Commit hash", "SHA-256 of body"):
        assert f"{name}:" in signed
        assert f"{name}:" not in rest.partition("Headers (not signed)")[0]
    unsigned = rest.partition("What nobody signed")[2].partition("Headers (not signed)")[0]
    assert "The signature covers the body alone." in unsigned
    for name in ("Delivery id", "Hook id", "Received"):
        assert f"{name}:" in unsigned
        assert f"{name}:" not in signed


def test_detail__says_where_nothing_was_signed(admin_client, delivery):
    Delivery.objects.update(verified_by="unsigned")
    words = page(admin_client, detail(delivery)).words
    assert "What was signed" not in words
    assert "What the body says, which nobody signed" in words
    assert "anyone may have sent it" in words
    assert "The signature covers" not in words
    assert "unsigned" in words.partition("Timeline")[2]


def test_detail__shows_only_moments_that_there_are(admin_client, delivery):
    assert "Next attempt:" in page(admin_client, detail(delivery)).words
    Delivery.objects.update(state="succeeded", settled_at=timezone.now(), next_attempt_at=None)
    words = page(admin_client, detail(delivery)).words
    assert "Settled:" in words
    assert "Next attempt:" not in words
    assert "Being run until:" not in words


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (sample_body("bundle:finished"), "/projects/perfsee/bundle/65"),
        (sample_body("source:finished"), "/projects/perfsee/source"),
        (b"not JSON", None),
    ],
)
@pytest.mark.parametrize("site", ["https://perfsee.example", "https://perfsee.example/", None])
def test_detail__links_to_the_page_on_perfsee(admin_client, webhook_setting, site, body, path):
    webhook_setting(PERFSEE_URL=site)
    shown = page(admin_client, detail(store(body)))
    assert (f"https://perfsee.example{path}" in shown.links) == bool(site and path)
    assert ("set PERFSEE_URL for a link" in shown.text) == bool(path and not site)
    assert (path or "–") in shown.text


# Headers that disagree with the body


def test_detail__warns_where_headers_disagree_with_the_body(admin_client):
    claimed = {"X-Perfsee-Event": MARKUP, "X-Perfsee-Hook-Project": "other", "Content-Length": "7"}
    delivery = store(sample_body("bundle:finished"), **claimed)
    shown = page(admin_client, detail(delivery))
    warning = shown.words.partition("Its headers disagree with its body")[2].partition("State:")[0]
    assert f"X-Perfsee-Event says “{MARKUP}”, the body says “bundle:finished”." in warning
    assert "X-Perfsee-Hook-Project says “other”, the body says “perfsee”." in warning
    assert f"Content-Length says “7”, the body says “{len(delivery.body)}”." in warning
    assert "Only the body was signed" in warning
    assert shown.blocked == []
    Delivery.objects.update(verified_by="unsigned")
    assert "Nobody signed either" in page(admin_client, detail(delivery)).words


def test_detail__does_not_warn_of_what_agrees_or_is_gone(admin_client, body):
    agreeing = {"X-Perfsee-Event": "bundle-finished", "Content-Length": str(len(body))}
    delivery = store(body, **agreeing)
    assert "disagree" not in page(admin_client, detail(delivery)).words
    Delivery.objects.update(body=b"", body_pruned_at=timezone.now())
    assert "disagree" not in page(admin_client, detail(delivery)).words


# The timeline


def test_detail__shows_the_runs_of_the_receivers(admin_client, connect, post, body):
    connect(name="good")
    connect(name="bad", side_effect=RuntimeError("it broke"))
    post(body)
    words = page(admin_client, detail(Delivery.objects.get())).words
    assert re.search(r"Succeeded tests\.good run 1 \(first\), [-0-9]+ [:0-9]+ , [.0-9]+ ms", words)
    assert "Failed tests.bad run 1 (first)" in words
    assert "RuntimeError: it broke Traceback (most recent call last):" in words
    assert "processing.py" in words


@pytest.mark.parametrize(("is_mended", "opened"), [(False, ["second: "]), (True, [])])
def test_detail__opens_the_traceback_to_look_at(
    admin_client, connect, post, body, is_mended, opened
):
    bad = connect(name="bad", side_effect=[RuntimeError("first: "), RuntimeError("second: "), None])
    connect(name="good")
    post(body)
    for _ in range(1 + is_mended):
        Delivery.objects.update(next_attempt_at=timezone.now())
        process(Delivery.objects.get().pk)
    assert bad.call_count == 2 + is_mended
    text = admin_client.get(detail(Delivery.objects.get())).text
    assert re.findall(r"<details open>\s*<summary>RuntimeError: (.*)<", text) == opened
    assert text.count("<summary>RuntimeError") == 2


def test_detail__tells_of_runs_without_a_traceback(admin_client, connect, post, body):
    connect(side_effect=GiveUp("no use"))
    post(body)
    ReceiverRun.objects.update(exception="worker lost", traceback="", outcome="lost")
    words = page(admin_client, detail(Delivery.objects.get())).words
    assert re.search(r"Lost tests\.receiver run 1 .* asked not to be run again worker lost", words)


def test_timeline__is_in_the_order_of_what_happened(admin_client, post, no_receivers, body):
    post(body, delivery_id="one", headers={"X-Perfsee-Hook-ID": "hook-1"})
    delivery = Delivery.objects.get()
    mended = Replay.objects.create(requested_by="ann", reason="mended the chat")
    again = Replay.objects.create(requested_by="bob")
    run_of(delivery, 1, 50)
    run_of(delivery, 2, 40, trigger="retry")
    run_of(delivery, 3, 30, replay=mended)
    run_of(delivery, 4, 20, replay=again)
    run_of(delivery, 5, 10, replay=again)
    post(body, delivery_id="one", headers={"X-Perfsee-Hook-ID": "hook-2"})
    received_before(delivery, 60)
    Delivery.objects.update(replay=again)
    shown = page(admin_client, detail(delivery))
    told = re.findall(
        r"Arrived (?:again )?from hook \S+|run \d \(\w+\)|Replay \d+ ?, .*? (?=Succ)",
        shown.words.partition("Timeline")[2].partition("Changes")[0],
    )
    assert told == [
        "Arrived from hook hook-1",
        "run 1 (first)",
        "run 2 (retry)",
        f"Replay {mended.pk} , asked for by ann: mended the chat ",
        "run 3 (replay)",
        f"Replay {again.pk} , asked for by bob ",
        "run 4 (replay)",
        "run 5 (replay)",
        "Arrived again from hook hook-2",
    ]
    assert detail(mended) in shown.links
    assert "signed with SECRETS[0]" in shown.words


def test_timeline__names_a_replay_of_which_nothing_was_run(admin_client, delivery):
    replay = Replay.objects.create(requested_by="ann")
    Delivery.objects.update(replay=replay)
    words = page(admin_client, detail(delivery)).words
    assert f"Replay {replay.pk} , asked for by ann No receiver was run for it yet." in words
    Delivery.objects.update(settled_at=timezone.now())
    words = page(admin_client, detail(delivery)).words
    assert f"Replay {replay.pk} , asked for by ann No receiver was run for it." in words


@pytest.mark.parametrize("rights", [(), ("view_delivery_body",), ("superuser",)])
def test_detail__shows_what_is_in_the_body_only_to_who_may_see_it(person, post, body, rights):
    post(body, delivery_id="one")
    post(body.replace(b'"duration":5433', b'"duration":20252'), delivery_id="two")
    delivery = Delivery.objects.get(delivery_id="two")
    shown = page(person("view_delivery", *rights), detail(delivery))
    assert delivery.summary in shown.words
    assert "Perfsee-Hookshot/1" in shown.text
    assert ("20252" in shown.text) is bool(rights)
    assert ("openssl dgst" in shown.text) is bool(rights)
    assert shown.words.count(WITHHELD) == (0 if rights else 3)


def test_timeline__links_to_replays_only_who_may_see_them(person, delivery):
    replay = Replay.objects.create(requested_by="ann")
    run_of(delivery, 1, replay=replay)
    shown = page(person("view_delivery"), detail(delivery))
    assert f"Replay {replay.pk}, asked for by ann" in shown.words
    assert detail(replay) not in shown.links


def test_timeline__says_how_many_repeats_were_only_counted(admin_client, post, no_receivers, body):
    for _ in range(MAX_LOGGED_REPEATS + 3):
        post(body, delivery_id="one")
    words = page(admin_client, detail(Delivery.objects.get())).words
    assert words.count("Arrived again from hook") == MAX_LOGGED_REPEATS
    assert "Arrived 2 more times" in words


def test_timeline__shows_the_latest_runs_and_counts_the_others(admin_client, delivery):
    ReceiverRun.objects.bulk_create(
        ReceiverRun(
            delivery=delivery,
            receiver="tests.receiver",
            number=number,
            attempt=1,
            trigger="retry",
            outcome="succeeded",
            started_at=timezone.now() + timedelta(seconds=number),
            duration=timedelta(0),
        )
        for number in range(1, MAX_SHOWN_RUNS + 4)
    )
    words = page(admin_client, detail(delivery)).words
    assert "3 earlier runs are not shown." in words
    assert "run 3 (retry)" not in words
    assert "run 4 (retry)" in words
    assert f"run {MAX_SHOWN_RUNS + 3} (retry)" in words


# What changed since the previous one


def test_comparison__shows_what_changed_since_the_previous_one(admin_client):
    oldest, previous = store(bundle(score=1)), store(bundle(score=54, toolkit=MARKUP))
    received_before(oldest, 30)
    received_before(previous, 20)
    other_subject = store(bundle(branch="another"))
    received_before(other_subject, 10)
    delivery = store(sample_body("bundle:finished"))
    later = store(bundle(score=99))
    shown = page(admin_client, detail(delivery))
    told = shown.words.partition("Changes since the previous one")[2].partition("Body (")[0]
    artifact = "payload.data.project.artifact"
    assert f"{artifact}.score changed 54 57 (+3)" in told
    assert f"{artifact}.toolkit removed {pretty_json(MARKUP)} –" in told
    assert "Compared with main @ feat/webhook passed, score 54" in told
    assert detail(previous) in shown.links
    assert shown.blocked == []
    assert f"{artifact}.toolkit added –" in page(admin_client, detail(previous)).words
    assert detail(delivery) in page(admin_client, detail(later)).links


def test_comparison__with_one_of_the_same_moment_goes_by_the_key(admin_client, body):
    first, second = store(body), store(body)
    Delivery.objects.update(received_at=timezone.now())
    assert "This is the first one" in page(admin_client, detail(first)).words
    assert "Both say the same." in page(admin_client, detail(second)).words


@pytest.mark.parametrize("changed", ["event_type", "project", "subject"])
def test_comparison__is_with_one_about_the_same_alone(admin_client, body, changed):
    other, delivery = store(body), store(body)
    received_before(other, 5)
    assert "Both say the same." in page(admin_client, detail(delivery)).words
    Delivery.objects.filter(pk=other.pk).update(**{changed: "other"})
    assert "This is the first one about its subject." in page(admin_client, detail(delivery)).words


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"body": b"", "body_pruned_at": timezone.now()}, "bytes of the previous one have been pr"),
        ({"body": b"not JSON"}, "The body of the previous one is not a JSON object."),
        ({"body": b"{" * 50_000}, "The body of the previous one is not a JSON object."),
        ({"body": b"{}" + b" " * MAX_COMPARED_BYTES}, "previous one has more than 1.0 MB"),
    ],
)
def test_comparison__says_why_there_is_none(admin_client, body, changes, sentence):
    previous, delivery = store(body), store(body)
    received_before(previous, 5)
    Delivery.objects.filter(pk=previous.pk).update(**changes)
    shown = page(admin_client, detail(delivery))
    assert sentence in shown.words.replace("\xa0", " ")
    assert detail(previous) in shown.links


def test_comparison__says_where_the_subject_is_not_known(admin_client):
    delivery = store(b'{"eventType": "package:published"}')
    assert "What this event is about is not known" in page(admin_client, detail(delivery)).words


def test_comparison__is_bounded(admin_client):
    many = {f"key{number}": "x" * 5000 for number in range(MAX_SHOWN_DIFFERENCES + 3)}
    deep: object = 1
    for _ in range(600):
        deep = [deep]
    previous, delivery = store(bundle()), store(bundle(**many, duration=deep))
    received_before(previous, 5)
    response = admin_client.get(detail(delivery))
    shown = Page(response)
    assert shown.words.count(" added – ") == MAX_SHOWN_DIFFERENCES - 1
    assert "duration changed 5433 [[[[" in shown.words
    assert "4 more differences are not shown." in shown.words
    assert len(response.content) < 1_000_000


def test_comparison__writes_no_more_of_a_value_than_it_shows():
    deep: Any = 1
    for _ in range(20_000):
        deep = [deep]
    (difference,) = differences({}, {"a": deep})
    row = Row.of(difference)
    assert row.after == "[" * 299 + "…"
    assert row.before == ""


# The body


@pytest.mark.parametrize(
    ("body", "shown", "note"),
    [
        (b"not JSON \x00\xff\r", "not JSON ���", "not a JSON object"),
        (b"[1]", "[1]", "not a JSON object"),
        (b'{"a": NaN}', '{"a": NaN}', "not a JSON object"),
        (b"", "", "No bytes are kept"),
        (b'{"a":"' + b"x" * MAX_SHOWN_BYTES + b'"}', '{"a":"xxx', "first 256.0"),
        (b"\xff" * (MAX_SHOWN_BYTES + 1), "�" * 9, "first 256.0"),
        (b'{"a":1}', '{\n  "a": 1\n}', ""),
        (b'{"a":[' + b"0," * MAX_FOLDABLE_PARTS + b"0]}", '{\n  "a": [\n    0,\n', "without folds"),
    ],
)
def test_detail__shows_any_body(admin_client, body, shown, note):
    received = Received.read(body, {})
    assert received.body.startswith(shown)
    assert note in received.note
    assert bool(note) == bool(received.note)
    text = page(admin_client, detail(store(body))).text
    assert shown in text
    assert note in text


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":' * 101 + b"1" + b"}" * 101,
        b'{"a":' * 900 + b"1" + b"}" * 900,
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
        b'{"a":' * 90 + b"[" + b"0," * 60_000 + b"0]" + b"}" * 90,
    ],
    ids=["101 deep", "900 deep", "5000 deep", "few bytes that indent to many"],
)
def test_detail__shows_a_deep_body_as_it_came(admin_client, body):
    response = admin_client.get(detail(store(body)))
    assert response.status_code == 200
    assert len(response.content) < 12 * len(body) + 50_000
    assert '{"a":{"a":' in Page(response).text


def test_detail__folds_a_body_of_a_hundred_levels(admin_client):
    body = b'{"a":' * 100 + b"1" + b"}" * 100
    assert "<details open>" in Received.read(body, {}).tree
    assert admin_client.get(detail(store(body))).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":[' + b'{"b":"<>&"},' * (MAX_FOLDABLE_PARTS // 2 - 1) + b"0]}",
        b'{"a":"' + b"<" * (MAX_SHOWN_BYTES - 9) + b'"}',
        b"<" * 10 * 1024 * 1024,
    ],
    ids=["many parts", "markup", "10 MiB"],
)
def test_detail__is_of_a_bounded_size(admin_client, body):
    response = admin_client.get(detail(store(body)))
    assert response.status_code == 200
    assert len(response.content) < 3_000_000


@given(ANY_JSON)
def test_foldable__has_the_text_of_the_indented_json(value):
    class Answer:
        content = foldable(value).encode()

    shown = Page(Answer)
    assert shown.text == pretty_json(value)
    assert shown.blocked == []
    assert Answer.content.count(b"<details open>") == Answer.content.count(b"</details>")


def test_foldable__names_kinds_and_sizes():
    html = foldable({"a": [1, 2.5], "b": {"c": "x"}, "d": [], "e": True, "f": None, "g": MARKUP})
    for kind, text in (("number", "2.5"), ("string", "&quot;x&quot;"), ("boolean", "true")):
        assert f'<span class="perfsee-{kind}">{text}</span>' in html
    assert '<span class="perfsee-null">null</span>' in html
    assert '<span class="perfsee-key">&quot;a&quot;</span>: ' in html
    assert re.findall('data-size="(.+?)"', html) == ["6 members }", "2 items ]", "1 member }"]
    assert "[]" in html
    assert "<script" not in html


def test_shape__measures_any_depth():
    value: object = 1
    for _ in range(20_000):
        value = [value]
    assert Shape.of(value).depth == 20_000
    assert Shape.of({"a": [1, {}]}) == Shape(depth=2, parts=4, spaces=2 + 4 + 4)


@pytest.mark.parametrize(
    "body",
    [b'{"a": "\xc3\xa9"}\r\n', b"\xef\xbb\xbf\x00not JSON\r", sample_body("bundle:finished")],
)
def test_detail__offers_to_copy_the_exact_text(admin_client, body):
    text = admin_client.get(detail(store(body))).text
    (exact,) = re.findall('data-base64="(.+?)"', text)
    assert base64.b64decode(exact) == body
    assert ("Copy indented" in text) == (b"not JSON" not in body)
    assert '<div class="perfsee-buttons" hidden>' in text
    assert '<script src="/static/perfsee_webhooks/admin.js" defer></script>' in text


@pytest.mark.parametrize("body", [b"\xff", b"", b"x" * (MAX_SHOWN_BYTES + 1)])
def test_detail__offers_to_copy_no_text_that_it_does_not_have(admin_client, body):
    assert "data-base64" not in admin_client.get(detail(store(body))).text


@pytest.mark.parametrize("value", ["sha256=" + "a" * 64, "nonsense"])
def test_received__shows_no_signature(admin_client, post, value):
    post(b"{}", headers={"X-Perfsee-Signature-256": value})
    shown = page(admin_client, detail(Rejection.objects.get()))
    assert value not in shown.text
    delivery = store(b"{}")
    Delivery.objects.update(headers={"x-perfsee-signature-256": value})
    text = page(admin_client, detail(delivery)).text
    assert value not in text
    assert f"{'sha256=' if value.startswith('sha') else ''}… (not shown)" in text


# The same once more


def test_snippets__stand_on_the_page(admin_client, body):
    text = page(admin_client, detail(store(body))).text
    assert "url=http://testserver/perfsee/webhook/\n" in text
    assert body.decode() in text
    assert "def test_delivery(client, settings):" in text


@pytest.mark.urls("tests.admin_urls")
def test_snippets__ask_for_the_address_where_the_site_has_no_receiver(admin_client, delivery):
    text = page(admin_client, detail(delivery)).text
    assert "url=${PERFSEE_URL_OF_RECEIVER:?" in text


def test_snippets__of_what_cannot_be_sent(admin_client):
    delivery = store(b"x" * 65_537)
    assert (
        "It is too large to be written into a script." in page(admin_client, detail(delivery)).text
    )
    Delivery.objects.update(body=b"", body_pruned_at=timezone.now())
    shown = page(admin_client, detail(delivery)).text
    assert "Its bytes have been pruned." in shown
    assert "openssl" not in shown


# The neighbours


def neighbours(client, delivery, filters=""):
    """Return the ids of the newer and the older delivery, with the filters in their addresses."""
    query = f"?{urlencode({'_changelist_filters': filters})}" if filters else ""
    text = client.get(detail(delivery) + query).text
    found = []
    for rel in ("prev", "next"):
        match = re.search(f'<a href="([^"]+)" rel="{rel}"', text)
        parts = urlsplit(match[1]) if match else None
        kept = parse_qs(parts.query).get("_changelist_filters", [""])[0] if parts else None
        found.append((int(parts.path.split("/")[-3]), kept) if parts else None)
    return found


@pytest.fixture
def five():
    """Five deliveries, oldest first; the third and the fourth came at the same moment."""
    bodies = ("bundle:finished", "source:finished", "bundle:finished", "source:finished")
    rows = [store(sample_body(name)) for name in (*bodies, "bundle:finished")]
    for row, minutes in zip(rows, (50, 40, 30, 30, 10), strict=True):
        moment = timezone.now().replace(microsecond=0) - timedelta(minutes=minutes)
        Delivery.objects.filter(pk=row.pk).update(received_at=moment)
    Delivery.objects.filter(pk=rows[3].pk).update(
        received_at=Delivery.objects.get(pk=rows[2].pk).received_at
    )
    return rows


def test_neighbours__are_the_next_in_the_list(admin_client, five):
    listed = [None, *[row.pk for row in five], None]
    for number, row in enumerate(five, start=1):
        newer, older = neighbours(admin_client, row)
        assert (newer and newer[0], older and older[0]) == (listed[number + 1], listed[number - 1])


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ("event=bundle:finished", (4, 0)),
        ("event=source:finished", (3, 1)),
        ("state__exact=dead", (None, None)),
        ("state__exact=received&o=-1&p=2", (3, 1)),
        ("q=perfsee", (3, 1)),
        ("q=nothing", (None, None)),
        ("project=perfsee&event=bundle%3Afinished", (4, 0)),
        ("received_at__gte=2999-01-01T00:00:00Z", (None, None)),
    ],
)
def test_neighbours__are_those_within_the_filter(admin_client, five, filters, expected):
    found = neighbours(admin_client, five[2], filters)
    assert found == [None if at is None else (five[at].pk, filters) for at in expected]


@pytest.mark.parametrize(
    "filters",
    [
        "bogus=1",
        "body__contains=x",
        "replay=bogus",
        f"replay={'9' * 40}",
        "received_at__gte=bogus",
        "received_at__gte=0001-01-01+00:00:00%2B14:00",
        "received_at__lt=9999-12-31+23:59:59-14:00",
        "_to_field=body",
        "&".join(f"a{number}=1" for number in range(2000)),
        "project=%00",
        "event=%00",
        "q=%00",
        "%ff=%ed%a0%bd",
        "_changelist_filters=_changelist_filters%3Dx",
    ],
)
def test_neighbours__are_those_of_the_whole_list_where_a_filter_makes_no_sense(
    admin_client, five, filters
):
    found = neighbours(admin_client, five[2], filters)
    # A NUL matches nothing in SQLite and is refused by PostgreSQL; a huge number matches nothing.
    assert found in (
        [(five[3].pk, ""), (five[1].pk, "")],
        [(five[3].pk, filters), (five[1].pk, filters)],
        [None, None],
    )
    if "=bogus" in filters or filters.startswith(("bogus", "body", "_to", "a0")):
        assert found == [(five[3].pk, ""), (five[1].pk, "")]


def test_neighbours__are_reached_from_the_list(admin_client, five):
    listed = page(admin_client, f"{DELIVERIES}?event=source:finished").links
    (link,) = [link for link in listed if link.startswith(detail(five[1]))]
    assert "_changelist_filters" in link
    shown = page(admin_client, link)
    assert any(link.startswith(detail(five[3])) for link in shown.links)
    assert not any(link.startswith(detail(five[2])) for link in shown.links)


def test_detail__tells_of_the_same_body_under_other_ids(admin_client, body, post):
    for delivery_id in ("one", "two", "three"):
        post(body, delivery_id=delivery_id)
    one, two, three = Delivery.objects.order_by("pk")
    shown = page(admin_client, detail(two))
    assert "Its body came under another id as well" in shown.text
    assert {detail(one), detail(three)} <= set(shown.links)
    post(body + b" ", delivery_id="four")
    other = page(admin_client, detail(Delivery.objects.get(delivery_id="four")))
    assert "Its body came" not in other.text


# What it takes, and what it lets through


def test_detail__takes_the_same_statements_for_any_number_of_rows(admin_client, body, post):
    replay = Replay.objects.create(requested_by="ann")
    delivery = store(body)
    counts = []
    for size in (1, 30):
        for _ in range(size):
            number = delivery.runs.count() + 1
            own = Replay.objects.create(requested_by="ann")
            run_of(delivery, number, 100 - number, replay=own, outcome="failed", traceback="x")
            received_before(store(bundle(score=number)), 200)
            post(body, delivery_id=delivery.delivery_id)
        Delivery.objects.filter(pk=delivery.pk).update(replay=replay)
        path = f"{detail(delivery)}?_changelist_filters=project%3Dperfsee"
        with CaptureQueriesContext(connection) as captured:
            assert admin_client.get(path).status_code == 200
        counts.append([query["sql"] for query in captured if "perfsee_webhooks_" in query["sql"]])
    kinds = [
        ("delivery", lambda sql: "SUM(" in sql and "LIMIT 21" in sql),
        ("body, headers, log", lambda sql: '."body"' in sql and '."repeat_log"' in sql),
        ("newer", lambda sql: '"received_at" ASC' in sql and "body" not in sql),
        (
            "older",
            lambda sql: '"received_at" DESC' in sql and "body" not in sql and "run" not in sql,
        ),
        ("same body", lambda sql: '."body_sha256" = ' in sql),
        ("runs", lambda sql: "OVER ()" in sql),
        ("replay", lambda sql: sql.startswith('SELECT "perfsee_webhooks_replay"')),
        ("previous", lambda sql: '"subject" = ' in sql),
    ]
    for statements in counts:
        assert len(statements) == len(kinds), statements
        for name, is_it in kinds:
            assert len([sql for sql in statements if is_it(sql)]) == 1, (name, statements)
        assert not [sql for sql in statements if sql.startswith("SELECT COUNT(")]
        assert len([sql for sql in statements if '."body"' in sql]) == 2


def test_list__reads_no_log_of_repeats(admin_client, delivery):
    with CaptureQueriesContext(connection) as captured:
        page(admin_client, DELIVERIES)
    assert not [query for query in captured if '."repeat_log"' in query["sql"]]


def test_detail__is_safe_with_hostile_content(admin_client, connect, post, monkeypatch):
    # The log names the exception as it is, and no report of a test run takes a lone surrogate.
    monkeypatch.setattr(logging.getLogger("perfsee_webhooks"), "propagate", False)
    connect(name=MARKUP + REVERSED, side_effect=ValueError(MARKUP + REVERSED + "\x00\ud83d"))
    body = bundle(name=MARKUP + REVERSED, branch=MARKUP + "\x00", failedReason=MARKUP + "\ud83d")
    before = json.loads(body)
    before["payload"]["data"]["project"]["artifact"].update({"score": MARKUP, MARKUP: REVERSED})
    post(json.dumps(before).encode())
    sent = {
        f"X-Perfsee-{name}": HOSTILE_HEADER for name in ("Event", "Hook-ID", "Hook-Project")
    } | {"User-Agent": HOSTILE_HEADER}
    for _ in range(2):
        assert post(body, headers=sent, delivery_id="one").status_code == 204
    delivery = Delivery.objects.get(delivery_id="one")
    assert delivery.state == "failed"
    replay = Replay.objects.create(requested_by=MARKUP, reason=MARKUP)
    ReceiverRun.objects.filter(delivery=delivery).update(replay=replay)
    for shown in (page(admin_client, DELIVERIES), page(admin_client, detail(delivery))):
        assert shown.blocked == []
        assert "<script>alert(1)</script>" in shown.text
        assert not set(REVERSED[:1] + REVERSED[-1:] + "\x00") & set(shown.text)
    shown = page(admin_client, detail(delivery))
    assert all(text in shown.text for text in (r"\u202egnp", r"\u0000", r"\ud83d"))
    assert shown.text.count(MARKUP) >= 10
    assert f"ValueError: {MARKUP}" in shown.text


def test_detail__links_to_nothing_that_comes_from_outside(admin_client, webhook_setting):
    webhook_setting(PERFSEE_URL=None)
    delivery = store(bundle(reportLink="https://evil.example/", name="http://evil.example"))
    shown = page(admin_client, detail(delivery))
    assert "https://evil.example/" in shown.text
    assert [link for link in shown.links if "evil" in link] == []

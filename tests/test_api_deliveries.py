"""The deliveries of the API: found by filters, page by page, and handed out byte for byte."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime, timedelta
from itertools import chain

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from perfsee_webhooks.models import Delivery, ReceiverRun
from perfsee_webhooks.processing import process
from perfsee_webhooks.samples import sample_body

from .replays import opened_again

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("nothing_runs")]

DELIVERIES = "/api/deliveries/"
MOMENT = datetime(2026, 3, 1, 12, tzinfo=UTC)


def ids_at(client, **query):
    response = client.get(DELIVERIES, query)
    assert response.status_code == 200, response.content
    return [row["delivery_id"] for row in response.json()["results"]]


def pages_from(client, address):
    """The ids on each page, and the address of the last page."""
    pages, last = [], address
    while address:
        last, answer = address, client.get(address).json()
        pages.append([row["delivery_id"] for row in answer["results"]])
        address = answer["next"]
    return pages, last


def store_many(number):
    """Rows that all came at the same moment, but for the last."""
    Delivery.objects.bulk_create(
        Delivery(
            delivery_id=f"id-{index:04}",
            event_type="bundle:finished",
            body=b"{}",
            received_at=MOMENT + timedelta(microseconds=int(index == number - 1)),
        )
        for index in range(number)
    )


# The list


def test_list__tells_what_a_delivery_is_about(admin_client, post, body):
    post(body, delivery_id="one")
    (row,) = admin_client.get(DELIVERIES).json()["results"]
    stored = Delivery.objects.get()
    assert stored.next_attempt_at
    assert row == {
        "url": "http://testserver/api/deliveries/one/",
        "delivery_id": "one",
        "event_type": "bundle:finished",
        "project": "perfsee",
        "branch": stored.branch,
        "commit_hash": stored.commit_hash,
        "summary": stored.summary,
        "hook_id": stored.hook_id,
        "verified_by": "SECRETS[0]",
        "state": "received",
        "attempts": 0,
        "received_at": stored.received_at.isoformat().replace("+00:00", "Z"),
        "next_attempt_at": stored.next_attempt_at.isoformat().replace("+00:00", "Z"),
        "settled_at": None,
        "body_pruned_at": None,
        "repeats": 0,
        "last_repeated_at": None,
        "replay": None,
    }


@pytest.mark.parametrize("address", ["", "?event=bundle:*&search=id&state=received"])
def test_list__reads_the_same_few_statements_and_no_body(admin_client, address):
    counts = set()
    for number in (3, 40):
        Delivery.objects.all().delete()
        store_many(number)
        with CaptureQueriesContext(
            connection,
        ) as statements:
            admin_client.get(DELIVERIES + address)
        counts.add(len(statements))
        assert not [
            row["sql"] for row in statements if '"body"' in row["sql"] or "headers" in row["sql"]
        ]
    assert counts == {3}, "the session, the user, and the deliveries"


@pytest.mark.parametrize("size", [1, 7, 10])
def test_pages__have_each_row_once_though_they_came_at_the_same_moment(admin_client, size):
    store_many(30)
    pages, last = pages_from(admin_client, f"{DELIVERIES}?page_size={size}")
    in_order = [f"id-{index:04}" for index in reversed(range(30))]
    assert list(chain(*pages)) == in_order
    assert {len(page) for page in pages[:-1]} == {size}
    back: list[list[str]] = []
    while last:
        answer = admin_client.get(last).json()
        back.insert(0, [row["delivery_id"] for row in answer["results"]])
        last = answer["previous"]
    assert list(chain(*back)) == in_order


def test_pages__stay_right_while_new_ones_come(admin_client, post, body):
    store_many(4)
    first = admin_client.get(f"{DELIVERIES}?page_size=2").json()
    post(body, delivery_id="new")
    second = admin_client.get(first["next"]).json()
    assert [row["delivery_id"] for row in second["results"]] == ["id-0001", "id-0000"]
    before = admin_client.get(second["previous"]).json()
    assert [row["delivery_id"] for row in before["results"]] == ["id-0003", "id-0002"]
    assert before["previous"], "where the new one is"


def test_pages__have_a_thousand_that_came_at_the_same_moment(admin_client):
    store_many(1200)
    pages, _last = pages_from(admin_client, f"{DELIVERIES}?page_size=500")
    assert [len(page) for page in pages] == [500, 500, 200]
    assert len(set(chain(*pages))) == 1200


# The filters


@pytest.fixture
def several(post, connect):
    """Deliveries that differ in whatever can be asked for."""
    post(sample_body("bundle:finished"), delivery_id="bundle-1")
    post(sample_body("source:finished"), delivery_id="source-1")
    post(b'{"eventType": "lab:new"}', delivery_id="lab-1")
    connect(name="fails", side_effect=KeyError("score"))
    process(Delivery.objects.get(delivery_id="bundle-1").pk)
    Delivery.objects.filter(delivery_id="source-1").update(
        received_at=MOMENT, hook_id="hook 2", project="other"
    )


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"state": "failed"}, ["bundle-1"]),
        ({"state": ["failed", "received"]}, ["bundle-1", "lab-1", "source-1"]),
        ({"event": "bundle:*"}, ["bundle-1"]),
        ({"event": " lab:* , source-finished "}, ["lab-1", "source-1"]),
        ({"other_events": "true"}, ["lab-1"]),
        ({"other_events": "false"}, ["bundle-1", "lab-1", "source-1"]),
        ({"project": "other"}, ["source-1"]),
        ({"project": "oth"}, []),
        ({"hook": "hook 2"}, ["source-1"]),
        ({"received_before": "2026-03-01T12:00:00Z"}, []),
        ({"received_before": "2026-03-01T12:00:01Z"}, ["source-1"]),
        ({"received_from": "2026-03-01T12:00:00Z"}, ["bundle-1", "lab-1", "source-1"]),
        ({"received_from": "2026-03-01T12:00:01+00:00"}, ["bundle-1", "lab-1"]),
        ({"search": "lab source"}, []),
        ({"search": "oth"}, ["source-1"]),
        ({"search": '"oth'}, []),
        ({"replay": "1"}, []),
        ({"failure_group": "0" * 16}, []),
        ({"event": "bundle:*", "state": "received"}, []),
    ],
)
def test_filters__find_what_is_asked_for(query, found, several, admin_client):
    assert sorted(ids_at(admin_client, **query)) == found


def test_filters__find_what_a_failure_group_and_a_replay_have(several, admin_client):
    (group,) = ReceiverRun.objects.values_list("failure_group", flat=True)
    assert ids_at(admin_client, failure_group=group) == ["bundle-1"]
    replay = opened_again()
    assert len(ids_at(admin_client, replay=replay.pk)) == 3


@pytest.mark.parametrize(
    "query",
    [
        {"state": "lost"},
        {"event": " , "},
        {"event": "x\x00"},
        {"event": "x" * 201},
        {"other_events": "perhaps"},
        {"project": "\x00"},
        {"hook": "x" * 101},
        {"received_from": "yesterday"},
        {"received_from": "0000-01-01T00:00:00Z"},
        {"received_from": "0001-01-01T00:00:00+23:59"},
        {"received_before": "9999-12-31T23:59:59-23:59"},
        {"received_before": "2026-13-01"},
        {"replay": str(2**63)},
        {"replay": "9" * 5000},
        {"replay": "-1"},
        {"replay": "one"},
        {"failure_group": "x" * 17},
        {"search": "\x00"},
        {"search": "x " * 101},
        {"page_size": "0"},
        {"page_size": "501"},
        {"page_size": "²"},
        {"page_size": "9" * 5000},
        {"cursor": ""},
        {"cursor": "mangled"},
        {"cursor": "\x00"},
        {"cursor": "é"},
    ],
    ids=lambda query: repr(query)[:40],
)
def test_filters__refuse_what_no_database_takes(query, admin_client):
    answer = admin_client.get(DELIVERIES, query)
    assert answer.status_code == 400
    (problems,) = answer.json().items()
    assert problems[0] in query
    assert problems[1][0]


@pytest.mark.parametrize(
    "position",
    [
        "after",
        "after 5",
        "beside 2026-03-01T12:00:00+00:00 5",
        "after 2026-03-01T12:00:00+00:00 5 5",
        "after 2026-03-01T12:00:00+00:00 -5",
        f"after 2026-03-01T12:00:00+00:00 {2**63}",
        f"after 2026-03-01T12:00:00+00:00 {'9' * 5000}",
        "after 2026-03-01T12:00:00+00:00 five",
        "after 2026-03-01T12:00:00 5",
        "after 0001-01-01T00:00:00+23:59 5",
        "after 9999-12-31T23:59:59-23:59 5",
        "after yesterday 5",
        "after \x00 5",
        "after 2026-03-01T12:00:00+00:00 \ud800",
    ],
)
def test_cursor__that_nobody_was_given_is_refused(position, admin_client, delivery):
    written = position.encode(errors="surrogatepass")
    cursor = base64.urlsafe_b64encode(written).decode()
    answer = admin_client.get(DELIVERIES, {"cursor": cursor})
    assert answer.status_code == 400
    assert answer.json() == {"cursor": ["This is no cursor that this list has given."]}


def test_filters__have_a_form_that_asks_for_nothing_as_it_is(admin_client, delivery):
    page = admin_client.get(DELIVERIES, headers={"Accept": "text/html"}).content.decode()
    assert "Received before" in page
    assert "invalid name" not in page
    chosen = page.split('name="other_events"')[1].split("</option>")[0]
    assert 'value=""' in chosen


# The detail


def test_detail__tells_how_it_came_and_what_became_of_it(admin_client, post, body, connect):
    connect(name="fails", side_effect=KeyError("score"))
    post(body, delivery_id="one")
    process(Delivery.objects.get().pk)
    post(body, delivery_id="one", headers={"X-Perfsee-Hook-ID": "another hook"})
    shown = admin_client.get(f"{DELIVERIES}one/").json()
    assert shown["state"] == "failed"
    assert [arrival["hook_id"] for arrival in shown["arrivals"]][1:] == ["another hook"]
    assert shown["headers"]["X-Perfsee-Delivery"] == "one"
    assert shown["body_sha256"] == hashlib.sha256(body).hexdigest()
    (run,) = shown["runs"]
    assert (run["receiver"], run["outcome"]) == ("tests.fails", "failed")
    assert run["exception"] == "KeyError: 'score'"
    assert admin_client.get(run["url"]).json()["id"] == run["id"]
    assert "traceback" not in run


@pytest.mark.parametrize("address", ["", "one/"])
def test_rows__hold_no_signature_and_nothing_of_the_body(address, person, post):
    secret = "what only the body says"
    post(f'{{"eventType": "bundle:finished", "note": "{secret}"}}'.encode(), delivery_id="one")
    Delivery.objects.update(headers={"x-perfsee-signature-256": "sha256=abc", "Host": "here"})
    client = person("view_delivery", "view_delivery_body")
    shown = client.get(DELIVERIES + address).content.decode()
    assert '"one"' in shown
    assert secret not in shown
    assert "signature" not in shown.lower()
    assert "sha256=" not in shown


def test_detail__reads_the_same_few_statements_whatever_there_is(admin_client, post, body, connect):
    post(body, delivery_id="one")
    counts, shown = set(), {}
    for name in ("a", "b", "c"):
        connect(name=name)
        opened_again()
        process(Delivery.objects.get().pk)
        with CaptureQueriesContext(connection) as statements:
            shown = admin_client.get(f"{DELIVERIES}one/").json()
        counts.add(len(statements))
        assert not [row["sql"] for row in statements if '"body"' in row["sql"]]
    assert counts == {5}, "session, user, the delivery, its runs, and those with its body"
    assert [run["receiver"] for run in shown["runs"]] == ["tests.c", "tests.b", "tests.a"]


@pytest.mark.django_db
def test_detail__names_those_with_the_same_body(admin_client, post, body):
    for delivery_id in ("one", "two", "three"):
        post(body, delivery_id=delivery_id)
    shown = admin_client.get(f"{DELIVERIES}two/").json()
    assert shown["same_body_as"] == ["one", "three"]


IDS = [
    "0194a8d2-0000-7000-8000-00000000002a",
    "a.json",
    "a~b=c+d@e:f._-",
    "body",
    "rejection-5",
    "1",
    "x" * 128,
]


@pytest.mark.parametrize("delivery_id", IDS)
def test_address__holds_whatever_an_id_can_hold(delivery_id, admin_client, post, body):
    assert post(body, delivery_id=delivery_id).status_code == 204
    (row,) = admin_client.get(DELIVERIES).json()["results"]
    shown = admin_client.get(row["url"]).json()
    assert shown["delivery_id"] == delivery_id
    assert admin_client.get(shown["body"]).content == body


# The body


def test_body__is_exactly_what_came(person, post):
    body = b'{"eventType":"bundle:finished",\r\n "emoji": "\xf0\x9f\x94\x91", "bad": "\xff\x00"}  '
    post(body, delivery_id="a:b~c")
    client = person("view_delivery", "view_delivery_body")
    for accepted in ("application/octet-stream", "text/html"):
        asked = client.get(f"{DELIVERIES}a:b~c/body/", headers={"Accept": accepted})
        assert asked.content == body
    answer = client.get(f"{DELIVERIES}a:b~c/body/")
    assert answer.content == body
    assert answer["Content-Type"] == "application/octet-stream"
    assert answer["Content-Disposition"] == 'attachment; filename="perfsee-a_b_c.json"'
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert "private" in answer["Cache-Control"]
    assert answer["ETag"] == f'"{hashlib.sha256(body).hexdigest()}"'
    assert client.head(f"{DELIVERIES}a:b~c/body/")["ETag"] == answer["ETag"]


def test_body__is_not_sent_to_whoever_has_it(admin_client, post, body):
    post(body, delivery_id="one")
    etag = admin_client.get(f"{DELIVERIES}one/body/")["ETag"]
    again = admin_client.get(f"{DELIVERIES}one/body/", headers={"If-None-Match": etag})
    assert (again.status_code, again.content, again["ETag"]) == (304, b"", etag)


def test_body__that_is_pruned_is_gone(admin_client, post, body):
    post(body, delivery_id="one")
    Delivery.objects.update(body=b"", body_pruned_at=MOMENT)
    answer = admin_client.get(f"{DELIVERIES}one/body/")
    assert answer.status_code == 410
    assert "KEEP_BODIES" in answer.json()["detail"]
    assert admin_client.get(f"{DELIVERIES}one/").json()["body_pruned_at"]


@pytest.mark.parametrize("address", ["nobody/", "nobody/body/"])
def test_address__of_what_is_not_there_is_not_found(address, admin_client):
    answer = admin_client.get(DELIVERIES + address)
    assert answer.status_code == 404
    assert answer.json()["detail"]


@pytest.mark.parametrize("rights", [(), ("view_receiverrun",)])
def test_detail__has_the_runs_only_for_who_may_view_them(person, post, body, connect, rights):
    connect(side_effect=ValueError("what the receiver says"))
    post(body, delivery_id="one")
    process(Delivery.objects.get().pk)
    answer = person("view_delivery", *rights).get(f"{DELIVERIES}one/")
    assert ("what the receiver says" in answer.text) is bool(rights)
    assert (answer.json()["runs"] is None) is not bool(rights)


def test_body__keeps_its_policy_behind_that_of_the_site(admin_client, post, body, no_receivers):
    post(body, delivery_id="one")
    answer = admin_client.get(f"{DELIVERIES}one/body/")
    assert answer["Content-Security-Policy"] == "sandbox; default-src 'none'"

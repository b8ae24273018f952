"""The runs, the refused requests and the figures of the API."""

from __future__ import annotations

import base64

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from perfsee_webhooks.models import Delivery, ReceiverRun, Rejection
from perfsee_webhooks.processing import process

from .replays import opened_again
from .sites import SECRET

pytestmark = pytest.mark.django_db

RUNS = "/api/runs/"
REJECTIONS = "/api/rejections/"
WRONG = "a secret that this site does not know"


def found(client, path, **query):
    response = client.get(path, query)
    assert response.status_code == 200, response.content
    return response.json()["results"]


# The runs


@pytest.fixture
def runs(post, body, connect, nothing_runs):
    """A failed and a succeeded run on each of two deliveries."""
    connect(name="fails", side_effect=KeyError("score"))
    connect(name="works")
    for delivery_id in ("one", "two"):
        post(body, delivery_id=delivery_id)
        process(Delivery.objects.get(delivery_id=delivery_id).pk)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, 4),
        ({"delivery": "one"}, 2),
        ({"delivery": "none"}, 0),
        ({"receiver": "tests.fails"}, 2),
        ({"outcome": "succeeded"}, 2),
        ({"trigger": "first"}, 4),
        ({"trigger": "replay"}, 0),
        ({"replay": "1"}, 0),
        ({"failure_group": "none"}, 0),
        ({"delivery": "one", "outcome": "failed"}, 1),
    ],
)
def test_runs__are_found_by_filters(query, expected, runs, admin_client):
    assert len(found(admin_client, RUNS, **query)) == expected


def test_runs__are_found_by_failure_group(runs, admin_client):
    (first, *_rest) = found(admin_client, RUNS, outcome="failed")
    alike = found(admin_client, RUNS, failure_group=first["failure_group"])
    assert [run["delivery_id"] for run in alike] == ["two", "one"]


@pytest.mark.parametrize(
    "query",
    [
        {"outcome": "unknown"},
        {"trigger": "\x00"},
        {"delivery": "\x00"},
        {"receiver": "x" * 1000},
        {"replay": "9" * 30},
        {"cursor": "YWZ0ZXIgeA=="},
    ],
    ids=repr,
)
def test_runs__refuse_filters_that_make_no_sense(query, admin_client):
    assert admin_client.get(RUNS, query).status_code == 400


def test_runs__have_their_traceback_in_the_detail_alone(runs, admin_client):
    rows = found(admin_client, RUNS)
    assert not [row for row in rows if "traceback" in row]
    shown = [admin_client.get(row["url"]).json() for row in rows]
    assert ["KeyError: 'score'" in run["traceback"] for run in shown] == [False, True, False, True]


def test_runs__come_page_by_page_in_few_statements(runs, admin_client):
    with CaptureQueriesContext(connection) as statements:
        first = admin_client.get(RUNS, {"page_size": 3}).json()
    assert len(statements) == 3
    assert not [row["sql"] for row in statements if '"body"' in row["sql"]]
    assert not [row["sql"] for row in statements if '"traceback"' in row["sql"]]
    last = admin_client.get(first["next"]).json()
    keys = [run["id"] for run in first["results"] + last["results"]]
    assert keys == sorted(ReceiverRun.objects.values_list("pk", flat=True), reverse=True)


# The refused requests


def test_rejections__tell_why_and_never_the_signature(person, post, body):
    post(body, delivery_id="refused", secret=WRONG)
    assert "X-Perfsee-Signature-256" in Rejection.objects.get().headers
    client = person("view_rejection", "view_delivery_body")
    (row,) = found(client, REJECTIONS, reason="wrong_signature", delivery_id="refused")
    shown = client.get(row["url"])
    assert shown.json()["headers"]["X-Perfsee-Delivery"] == "refused"
    assert shown.json()["accepted_as"] is None
    for told in (shown.content.decode(), str(row)):
        assert "sha256" not in told
        assert "X-Perfsee-Signature" not in told
    answer = client.get(shown.json()["body"])
    assert answer.content == body
    assert answer["Content-Disposition"] == (
        f'attachment; filename="perfsee-rejection-{row["id"]}.json"'
    )


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"accepted": "false"}, 1),
        ({"accepted": "true"}, 0),
        ({"reason": "too_large"}, 0),
        ({"project": "perfsee"}, 1),
        ({"hook": "none"}, 0),
        ({"received_before": "2001-01-01T00:00:00Z"}, 0),
        ({"received_from": "2001-01-01T00:00:00Z"}, 1),
    ],
)
def test_rejections__are_found_by_filters(query, expected, admin_client, post, body):
    post(body, secret=WRONG)
    assert len(found(admin_client, REJECTIONS, **query)) == expected


@pytest.mark.parametrize(
    "query",
    [{"accepted": "1"}, {"reason": "x"}, {"received_from": "0001-01-01T00:00:00+23:59"}],
    ids=repr,
)
def test_rejections__refuse_filters_that_make_no_sense(query, admin_client):
    assert admin_client.get(REJECTIONS, query).status_code == 400


def test_rejections__are_read_in_few_statements_without_their_bodies(admin_client, post, body):
    for _ in range(3):
        post(body, secret=WRONG)
    with CaptureQueriesContext(connection) as statements:
        assert len(found(admin_client, REJECTIONS)) == 3
    assert len(statements) == 3
    assert not [row["sql"] for row in statements if '"body"' in row["sql"]]


def test_accept__stores_what_passes_now_and_has_it_processed(
    person, post, body, connect, webhook_setting
):
    receiver = connect()
    post(body, delivery_id="refused", secret=WRONG)
    webhook_setting(SECRETS=[WRONG, SECRET])
    client = person("view_rejection", "accept_rejection")
    address = f"{REJECTIONS}{Rejection.objects.get().pk}/accept/"
    assert client.post(address).json() == {
        "url": "http://testserver/api/deliveries/refused/",
        "delivery_id": "refused",
        "is_new": True,
    }
    assert receiver.call_count == 1
    (row,) = found(client, REJECTIONS, accepted="true")
    assert (row["accepted_as"], row["accepted_by"]) == ("refused", "someone")
    again = client.post(address)
    assert again.status_code == 409
    assert "accepted it already" in again.json()["detail"]


def test_accept__refuses_what_still_does_not_pass(admin_client, post, body):
    post(body, secret=WRONG)
    answer = admin_client.post(f"{REJECTIONS}{Rejection.objects.get().pk}/accept/")
    assert answer.status_code == 409
    assert "signature" in answer.json()["detail"]
    assert not Delivery.objects.exists()


# The figures


def test_stats__tell_where_the_site_stands(runs, person):
    opened_again()
    told = person("view_delivery").get("/api/stats/").json()
    assert (told["received"], told["waiting"], told["max_counted"]) == (2, 2, 10_000)
    assert told["longest_wait_seconds"] >= 0
    assert told["last_swept_at"] is None


def test_stats__tell_of_a_site_without_any(admin_client):
    told = admin_client.get("/api/stats/").json()
    assert (told["longest_wait_seconds"], told["last_received_at"]) == (None, None)


@pytest.mark.parametrize("noun", ["deliveries", "runs", "rejections", "replays"])
def test_lists__refuse_a_filter_that_there_is_not(admin_client, noun):
    answer = admin_client.get(f"/api/{noun}/", {"stat": "dead"})
    assert answer.status_code == 400
    assert answer.json() == {"stat": ["No such filter."]}
    assert admin_client.get(f"/api/{noun}/", {"format": "json", "page_size": 7}).status_code == 200


@pytest.mark.parametrize("noun", ["deliveries", "rejections", "export"])
@pytest.mark.parametrize("offset", ["+23:59", "-23:59", "+16:00"])
def test_lists__take_a_moment_of_any_offset(admin_client, noun, offset):
    for name in ("received_from", "received_before"):
        answer = admin_client.get(f"/api/{noun}/", {name: f"2024-01-01T00:00:00{offset}"})
        assert answer.status_code == 200
        b"".join(answer)


@pytest.mark.parametrize("noun", ["deliveries", "rejections"])
def test_lists__take_a_cursor_of_any_offset(admin_client, noun):
    cursor = base64.urlsafe_b64encode(b"after 2024-01-01T00:00:00+23:00 5").decode()
    assert admin_client.get(f"/api/{noun}/", {"cursor": cursor}).status_code == 200

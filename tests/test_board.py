"""The example site: what its receivers keep of deliveries, and the page that shows it."""

import json

import pytest

from example_project.board.models import BundleScore, PageReport
from example_project.security import POLICY
from perfsee_webhooks.models import Delivery
from perfsee_webhooks.samples import sample_body

from .test_admin import MARKUP, REVERSED, Page

pytestmark = pytest.mark.django_db


def changed(event, subject, **changes):
    """The sample of an event, with keys of what it is about changed."""
    value = json.loads(sample_body(event))
    value["payload"]["data"]["project"][subject].update(changes)
    return json.dumps(value).encode()


def artifact(**changes):
    return changed("bundle:finished", "artifact", **changes)


def report(**changes):
    return changed("lab:snapshot-report-completed", "snapshotReport", **changes)


def states():
    return list(Delivery.objects.values_list("state", flat=True))


def test_board__is_empty_at_first(client):
    shown = Page(client.get("/"))
    assert "No bundle yet." in shown.text
    assert "No report yet." in shown.text
    assert "/admin/" in shown.links


def test_keep_score__keeps_the_score_of_a_bundle(client, post):
    post(sample_body("bundle:finished"))
    score = BundleScore.objects.get()
    assert (score.project, score.branch, score.name) == ("perfsee", "feat/webhook", "main")
    assert (score.score, score.change, score.has_passed, score.builds) == (57, -3, True, 1)
    assert (
        "perfsee feat/webhook main 57 ▼ -3 passed 2022-12-18 23:12" in Page(client.get("/")).words
    )


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({"score": 63}, "63 ▲ +3 passed"),
        ({"score": 60}, "60 ±0 passed"),
        ({"score": 60.25}, "60.3 ▲ +0.3 passed"),
        ({"baseline": None}, "57 – passed"),
        ({"score": None}, "– – passed"),
        ({"score": 0}, "0 ▼ -60 passed"),
        ({"status": "Failed", "score": None}, "– – failed"),
    ],
)
def test_board__shows_a_score_against_its_baseline(client, post, changes, shown):
    post(artifact(**changes))
    assert states() == ["succeeded"]
    assert f"main {shown} 2022" in Page(client.get("/")).words


def test_keep_score__keeps_the_newest_build_in_whatever_order_they_come(post):
    for day, score in ((2, 20), (3, 30), (1, 10)):
        post(artifact(score=score, createdAt=f"2026-01-0{day}T00:00:00Z"))
    kept = BundleScore.objects.get()
    assert (kept.score, kept.built_at.day, kept.builds) == (30, 3, 3)


@pytest.mark.parametrize("score", [1000, -1, 100.1])
def test_keep_score__refuses_an_impossible_score(post, score):
    post(artifact(score=score))
    assert states() == ["dead"]
    assert not BundleScore.objects.exists()
    assert "ImpossibleScore" in Delivery.objects.get().runs.get(outcome="failed").exception


def test_keep_reports__keeps_each_page_of_a_snapshot(client, post):
    value = json.loads(sample_body("lab:snapshot-completed"))
    _first, second = value["payload"]["data"]["project"]["snapshot"]["snapshotReports"]
    second["page"]["name"], second["failedReason"] = "Cart", "timed out"
    post(json.dumps(value).encode())
    assert states() == ["succeeded"]
    assert PageReport.objects.count() == 2
    words = Page(client.get("/")).words
    assert "perfsee Cart https://perfsee.example/home?a=1&b=2 Mobile 4G failed timed out" in words
    assert "perfsee Home https://perfsee.example/home?a=1&b=2 Mobile 4G completed 2022" in words


@pytest.mark.parametrize(
    ("status", "shown"),
    [("PartialCompleted", "partly completed"), ("Running", "running"), (None, "–")],
)
def test_board__shows_the_state_of_a_report(client, post, status, shown):
    post(report(status=status))
    assert f"Mobile 4G {shown} 2022" in Page(client.get("/")).words


def test_keep_reports__keeps_the_newest_report_of_a_page(post):
    for day, status in ((2, "Running"), (3, "Completed"), (1, "Pending")):
        post(report(status=status, createdAt=f"2026-01-0{day}T00:00:00Z"))
    kept = PageReport.objects.get()
    assert (kept.status, kept.measured_at.day) == ("Completed", 3)


@pytest.mark.parametrize(
    "body",
    [
        b'{"eventType":"bundle:finished","payload":{"data":null,"variables":{"projectSlug":"p"}}}',
        b'{"eventType":"bundle:finished","payload":{"data":{"project":null}}}',
        b'{"eventType":"lab:snapshot-completed","payload":{"data":{"project":{"id":"p"}}}}',
        b'{"eventType":"lab:snapshot-report-completed"}',
        b'{"eventType":"lab:something-new","payload":null}',
    ],
)
def test_receivers__take_what_perfsee_could_not_resolve(client, post, body):
    assert post(body).status_code == 204
    assert states() == ["succeeded"]
    assert client.get("/").status_code == 200


def test_board__is_safe_with_hostile_content(client, post):
    text = MARKUP + REVERSED + "\x00\ud83d"
    post(artifact(name=text, branch=text))
    post(report(status="Failed", failedReason=text, page={"name": text, "url": "javascript:x()"}))
    assert states() == ["succeeded", "succeeded"]
    response = client.get("/")
    shown = Page(response)
    assert response["Content-Security-Policy"] == POLICY
    assert shown.blocked == []
    assert shown.text.count("<script>alert(1)</script>") == 4
    assert not set(REVERSED[:1] + REVERSED[-1:] + "\x00") & set(shown.text)


def test_board__cuts_a_long_reason(client, post):
    post(report(status="Failed", failedReason="x" * 2000))
    assert "x" * 199 + "…" in Page(client.get("/")).text


@pytest.mark.parametrize(("method", "status"), [("get", 200), ("head", 200), ("post", 405)])
def test_board__is_only_read(client, method, status):
    assert getattr(client, method)("/").status_code == status


def test_board__reads_two_statements(client, post, django_assert_num_queries):
    for number in range(5):
        post(artifact(name=f"bundle {number}"))
    with django_assert_num_queries(2):
        client.get("/")

"""What a site's own tests are written with, used as a site would use it."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client

from perfsee_webhooks import events
from perfsee_webhooks.exceptions import RetryLater
from perfsee_webhooks.models import Delivery, ReceiverRun, Rejection
from perfsee_webhooks.payloads import BundleFinished, LabSnapshotReportCompleted
from perfsee_webhooks.samples import sample_body as recorded_body
from perfsee_webhooks.signals import bundle_finished, delivery_received
from perfsee_webhooks.testing import (
    assert_nothing_received,
    assert_received,
    call_receiver,
    collected,
    sample_body,
    sample_delivery,
    sample_event,
    signed_post,
)

from .documents import DOCS, blocks_of
from .sites import ROOT, running_environment

# Samples, which need no database: one that was asked for would fail the test.


@pytest.mark.parametrize("event_type", events.KNOWN)
def test_sample_body__is_what_perfsee_writes(event_type):
    assert sample_body(event_type) == recorded_body(event_type)


def test_sample_event__takes_the_fields_of_what_it_is_about():
    event = sample_event(
        "bundle:finished",
        score=41,
        branch="fix/中文",
        failed_reason="\u001b[31mno",
        status="Failed",
    )
    assert isinstance(event, BundleFinished)
    artifact = event.bundle.artifact
    assert (artifact.score, artifact.branch, artifact.failed_reason, artifact.status) == (
        41,
        "fix/中文",
        "\u001b[31mno",
        "Failed",
    )
    assert event.bundle.baseline.score == 60


def test_sample_event__takes_fields_of_what_is_within():
    assert sample_event("bundle:finished", baseline__score=12).bundle.baseline.score == 12
    report = sample_event(
        "lab:snapshot-report-completed", page__url="https://a.example/", profile__name="Desktop"
    ).snapshot_report
    assert (report.page.url, report.page.name) == ("https://a.example/", "Home")


def test_sample_event__takes_nothing_for_a_null():
    event = sample_event("bundle:finished", score=None, baseline=None)
    assert event.bundle.artifact.score is None
    assert not event.bundle.baseline
    assert event.bundle.artifact.raw["baseline"] is None


@pytest.mark.parametrize("event_type", events.KNOWN)
def test_sample_event__is_about_a_project(event_type):
    event = sample_event(event_type, project="web-shop")
    assert event.project.slug == event.project_slug == "web-shop"
    assert event.variables["projectSlug"] == "web-shop"


def test_sample_event__has_one_number_wherever_it_stands():
    event = sample_event("bundle:finished", id=7)
    assert (event.bundle.artifact.id, event.variables["artifactIid"]) == (7, 7)
    assert event.page_path == "/projects/perfsee/bundle/7"


def test_sample_event__changes_no_other_sample():
    before = sample_body("bundle:finished")
    sample_event("bundle:finished", score=1, baseline__score=2, project="other")
    assert sample_body("bundle:finished") == before


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"scroe": 1}, "has no field 'scroe'. Did you mean 'score'?"),
        ({"zzz": 1}, "has no field 'zzz'"),
        ({"baseline__scor": 1}, "has no field 'baseline__scor'. Did you mean 'baseline__score'?"),
        ({"score__half": 1}, "has no field 'score__half'"),
        ({"page__url": ""}, "has no field 'page__url'"),
    ],
)
def test_sample_event__names_a_field_that_there_is_not(given, message):
    with pytest.raises(TypeError, match="bundle:finished") as raised:
        sample_event("bundle:finished", **given)
    assert message in str(raised.value)


def test_sample_event__names_the_events_that_there_are():
    with pytest.raises(ValueError, match="bundle:finished, lab:snapshot-completed"):
        sample_event("bundle:started")


def test_sample_body__writes_moments_as_perfsee_does():
    event = sample_event("bundle:finished")
    moment = event.bundle.artifact.created_at
    assert moment is not None
    body = sample_body("bundle:finished", created_at=moment)
    assert body == recorded_body("bundle:finished")


def test_sample_delivery__is_as_it_would_be_stored():
    delivery = sample_delivery("bundle:finished", score=41, project="web-shop", branch="main")
    assert delivery._state.adding
    assert str(uuid.UUID(delivery.delivery_id)) == delivery.delivery_id
    assert (delivery.project, delivery.branch) == ("web-shop", "main")
    assert delivery.summary == "main @ main passed, score 41"
    assert delivery.is_signed
    assert delivery.event.bundle is not None


def test_sample_delivery__takes_exact_bytes():
    assert bytes(sample_delivery(b"\xff").body) == b"\xff"


# Receivers without a database.


def test_call_receiver__calls_as_a_delivery_does():
    calls = []

    def receiver(sender, delivery, event, **kwargs):
        calls.append((sender, delivery.summary, event.bundle.artifact.score, kwargs["signal"]))

    delivery = call_receiver(receiver, "bundle:finished", score=41)
    ((sender, summary, score, signal),) = calls
    assert (sender, summary, score) == (Delivery, delivery.summary, 41)
    assert signal.matches("bundle:finished")


def test_call_receiver__runs_an_async_one_to_its_end():
    seen = []

    async def receiver(sender, delivery, event, **kwargs):
        seen.append(event.type)

    call_receiver(receiver, sample_delivery("source:finished"))
    assert seen == ["source:finished"]


def test_call_receiver__takes_any_body():
    seen = []
    call_receiver(lambda event, **_: seen.append(event.type), b'{"eventType":","}')
    assert seen == [","]


def test_call_receiver__raises_what_the_receiver_raises():
    def receiver(sender, delivery, event, **kwargs):
        raise RetryLater(timedelta(seconds=1))

    with pytest.raises(RetryLater):
        call_receiver(receiver, "bundle:finished")


# Deliveries over the site's own address.


@pytest.fixture
def without_settings(settings):
    """A site that has no secret and does not process by itself."""
    settings.PERFSEE_WEBHOOKS = {"PROCESSING": "no.such.function"}
    return settings


@pytest.mark.django_db
def test_signed_post__needs_no_secret_and_runs_receivers(client, connect, without_settings):
    receiver = connect(bundle_finished)
    answer = signed_post(client, "bundle:finished", score=41)
    assert answer.status_code == 204
    assert receiver.call_args.kwargs["event"].bundle.artifact.score == 41
    assert assert_received("bundle-finished", state="succeeded").summary.endswith("score 41")
    assert without_settings.PERFSEE_WEBHOOKS == {"PROCESSING": "no.such.function"}


@pytest.mark.django_db
def test_signed_post__sends_exact_bytes_and_a_repeat(client, connect):
    receiver = connect()
    for _ in range(2):
        signed_post(client, b'{"eventType":"new:event"}', delivery_id="one", hook_id="a-hook")
    delivery = assert_received("new:event", delivery_id="one", hook_id="a-hook", repeats=1)
    assert bytes(delivery.body) == b'{"eventType":"new:event"}'
    assert receiver.call_count == 1


@pytest.mark.django_db
def test_signed_post__with_another_secret_is_refused(client, settings, no_receivers):
    settings.PERFSEE_WEBHOOKS = {"SECRETS": ["the secret of the site"]}
    assert signed_post(client, "bundle:finished", secret="another one").status_code == 400
    assert_nothing_received()
    assert (
        signed_post(client, "bundle:finished", secret="the secret of the site").status_code == 204
    )


@pytest.mark.django_db
def test_signed_post__headers_are_replaced_and_left_out(client, no_receivers):
    answer = signed_post(client, "bundle:finished", headers={"X-Perfsee-Signature-256": None})
    assert answer.status_code == 400
    assert Rejection.objects.get().reason == "missing_signature"
    headers = {"X-Perfsee-Event": "bundle-finished", "X-Request-ID": "7", "Content-Type": None}
    signed_post(client, "bundle:finished", headers=headers)
    kept = assert_received().headers
    assert (kept["X-Perfsee-Event"], kept["X-Request-ID"]) == ("bundle-finished", "7")
    assert "Content-Type" not in kept


def test_signed_post__takes_no_asynchronous_client(async_client):
    with pytest.raises(TypeError, match="takes a Client"):
        signed_post(async_client, "bundle:finished")


@pytest.mark.django_db(transaction=True)
def test_signed_post__from_many_threads_leaves_the_settings_as_they_were(settings, no_receivers):
    settings.PERFSEE_WEBHOOKS = before = {"PROCESSING": "no.such.function", "SECRETS": None}

    def post(number):
        try:
            return signed_post(Client(), "bundle:finished", delivery_id=f"{number}").status_code
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(post, range(12))) == {204}
    assert before == settings.PERFSEE_WEBHOOKS
    assert Delivery.objects.count() == 12


def test_signed_post__takes_no_fields_for_a_body(client):
    with pytest.raises(TypeError, match="as bytes takes no fields"):
        signed_post(client, b"{}", score=1)


@pytest.mark.django_db
def test_assert_received__says_what_came_instead(client, connect):
    connect(side_effect=ValueError("it broke"))
    signed_post(client, "bundle:finished", delivery_id="one", score=41)
    signed_post(client, "source:finished", secret="wrong", delivery_id="two")
    with pytest.raises(AssertionError) as raised:
        assert_received("bundle:finished", state="succeeded")
    said = str(raised.value)
    assert "No delivery has state='succeeded', event_type='bundle:finished'." in said
    assert "bundle:finished one is failed: main @ feat/webhook passed, score 41" in said
    assert "tests.receiver: ValueError: it broke" in said
    assert "refused as wrong_signature" in said


@pytest.mark.django_db
def test_assert_received__is_about_one_delivery(client, no_receivers):
    with pytest.raises(AssertionError, match="Nothing has come at all"):
        assert_received()
    assert_nothing_received()
    signed_post(client, "bundle:finished")
    with pytest.raises(AssertionError, match="Something was received"):
        assert_nothing_received()
    signed_post(client, "bundle:finished")
    with pytest.raises(AssertionError, match="More than one delivery has any columns"):
        assert_received()


@pytest.mark.django_db
def test_collected__holds_what_receivers_of_the_pattern_get(client, connect):
    receiver = connect(delivery_received)
    with collected("lab:*") as found:
        signed_post(client, "bundle:finished")
        signed_post(client, "lab:snapshot-report-completed", page__url="https://a.example/")
    signed_post(client, "lab:snapshot-completed")
    ((only),) = found
    assert isinstance(only.event, LabSnapshotReportCompleted)
    assert only.event.snapshot_report.page.url == "https://a.example/"
    assert only.delivery.pk
    assert receiver.call_count == 3
    assert ReceiverRun.objects.count() == 4


@pytest.mark.django_db
def test_collected__is_taken_away_after_an_error(client, no_receivers):
    with pytest.raises(KeyError), collected() as found:
        raise KeyError
    signed_post(client, "bundle:finished")
    assert found == []
    assert_received(state="unhandled")


# Fixtures, as pytest finds them.


def test_perfsee_post__posts_with_the_client_of_the_test(perfsee_post, perfsee_collected):
    assert perfsee_post("bundle:finished", score=41).status_code == 204
    ((only),) = perfsee_collected
    assert only.event.bundle.artifact.score == 41
    assert json.loads(bytes(only.delivery.body))["eventType"] == "bundle:finished"


# The page about it.


@pytest.mark.once
def test_testing_md__shows_tests_that_pass(tmp_path):
    blocks = [block for block in blocks_of(DOCS / "testing.md") if block.language == "python"]
    site = tmp_path / "shop"
    site.mkdir()
    (site / "__init__.py").touch()
    # Receivers are connected when the app starts.
    (site / "conftest.py").write_text("from . import receivers\n")
    for block in blocks:
        if block.file.endswith(".py"):
            (site / block.file).write_text(block.code)
        else:
            exec(block.code, {})  # noqa: S102  # it is the documentation's
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "shop"],
        capture_output=True,
        check=False,
        cwd=tmp_path,
        env=running_environment(
            f"sqlite:///{tmp_path / 'site.sqlite3'}",
            {"PERFSEE_SECRETS": "a secret that is long enough", "PYTHONPATH": str(ROOT)},
        ),
        text=True,
    )
    assert "8 passed" in ran.stdout, ran.stdout + ran.stderr

"""The doctor: what it finds of a site that is well and of each way in which one is not."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.http import HttpResponse
from django.test import override_settings
from django.urls import path
from django.utils import timezone

from perfsee_webhooks import doctor, tasks
from perfsee_webhooks.doctor import probe, site
from perfsee_webhooks.models import Delivery, Heartbeat, ReceiverRun, Rejection
from perfsee_webhooks.signals import bundle_finished

from .sites import ROOT, SECRET, running_environment
from .test_replay import dead

pytestmark = pytest.mark.django_db

urlpatterns = [path("other/", lambda _request: HttpResponse())]


def wall(get_response):
    """A middleware that lets nobody through."""
    return lambda _request: HttpResponse(status=403)


def login_wall(get_response):
    """A middleware that sends everybody to log in."""
    return lambda _request: HttpResponse(status=302, headers={"Location": "/login/"})


def swallow(get_response):
    """A middleware that answers as the receiver does, and stores nothing."""
    return lambda _request: HttpResponse(status=204)


def passage(get_response):
    """A middleware that lets everybody through."""
    return get_response


def unsigning(get_response):
    """A middleware that drops the signature."""

    def middleware(request):
        del request.META["HTTP_X_PERFSEE_SIGNATURE_256"]
        return get_response(request)

    return middleware


@pytest.fixture(autouse=True)
def _site_is_well(webhook_setting):
    webhook_setting(SECRETS=["a secret that is long enough"])
    Heartbeat.objects.beat("sweep")


def examine(**options):
    return doctor.examine(wait=timedelta(seconds=0), **options)


def examined(**options):
    return [(result.level.value, result.topic, result.message) for result in examine(**options)]


def of_topic(topic, **options):
    return [(level, said) for level, about, said in examined(**options) if about == topic]


def with_middleware(settings, name):
    settings.MIDDLEWARE = [f"{__name__}.{name}", *settings.MIDDLEWARE]


def test_examine__a_site_that_is_well(connect):
    receiver = connect()
    found = examined()
    assert {level for level, _topic, _message in found} == {"ok"}
    topics = [topic for _level, topic, _message in found]
    assert topics == ["settings", "database", "clock", "engine", "receivers", "sweep", "request"]
    assert receiver.call_count == 0
    assert not Delivery.objects.exists()
    assert not ReceiverRun.objects.exists()
    assert not Rejection.objects.exists()


def test_settings__are_told_by_the_ids_of_their_checks(webhook_setting):
    webhook_setting(SECRTS=[], SECRETS=["short"])
    found = of_topic("settings")
    assert [(level, said.partition(":")[0]) for level, said in found] == [
        ("error", "perfsee_webhooks.E002"),
        ("warning", "perfsee_webhooks.W002"),
    ]


# The request to itself


def test_settings__leave_out_what_the_site_has_silenced(settings, webhook_setting):
    webhook_setting(SECRETS=["short"])
    settings.SILENCED_SYSTEM_CHECKS = ["perfsee_webhooks.W002"]
    assert of_topic("settings") == [("ok", "The system checks find nothing wrong.")]


def test_request__is_signed_and_stored_and_taken_back():
    assert of_topic("request") == [
        ("ok", "A signed delivery to 127.0.0.1 was verified and stored, and taken back.")
    ]
    assert "to www.example.com was" in of_topic("request", host="www.example.com")[0][1]


@pytest.mark.parametrize(
    ("allowed", "host"),
    [
        (["*"], "localhost"),
        ([], "localhost"),
        ([".example.com"], "www.example.com"),
        (["*", "a.example"], "a.example"),
    ],
)
def test_request__goes_to_a_host_that_is_allowed(settings, allowed, host):
    settings.ALLOWED_HOSTS, settings.DEBUG = allowed, not allowed
    ((level, said),) = of_topic("request")
    assert (level, f"to {host} was verified" in said) == ("ok", True)


def test_request__tells_of_a_host_that_is_not_allowed(settings):
    settings.ALLOWED_HOSTS = ["good.example"]
    assert of_topic("request", host="evil.example") == [
        ("error", "A signed delivery to evil.example was answered 400.")
    ]
    assert "ALLOWED_HOSTS" in probe._ADVICE[400]


def test_request__follows_to_https_as_a_proxy_would(settings):
    settings.SECURE_SSL_REDIRECT = True
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    first, second = of_topic("request")
    assert first == (
        "ok",
        "http is redirected to https://127.0.0.1/perfsee/webhook/: that is what Perfsee needs.",
    )
    assert second[0] == "ok"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"PREPEND_WWW": True}, "302, a redirect to"),
        ({"PREPEND_WWW": True, "SECURE_SSL_REDIRECT": True}, "a redirect to"),
    ],
)
def test_request__tells_of_a_redirect(settings, change, said):
    settings.ALLOWED_HOSTS = ["shop.example", "www.shop.example"]
    for name, value in change.items():
        setattr(settings, name, value)
    *_, (level, message) = of_topic("request", host="shop.example")
    assert level == "error"
    assert "www.shop.example" in message


@pytest.mark.parametrize(
    ("middleware", "said"),
    [("wall", "answered 403."), ("login_wall", "answered 302, a redirect to /login/.")],
)
def test_request__tells_of_what_stands_before_the_receiver(settings, middleware, said):
    with_middleware(settings, middleware)
    assert of_topic("request") == [("error", f"A signed delivery to 127.0.0.1 was {said}")]


def test_request__is_let_through_by_djangos_own_login(settings):
    settings.MIDDLEWARE = [
        *settings.MIDDLEWARE,
        "django.contrib.auth.middleware.LoginRequiredMiddleware",
    ]
    assert of_topic("request")[0][0] == "ok"


def test_request__tells_of_a_receiver_without_an_address():
    with override_settings(ROOT_URLCONF=__name__):
        assert of_topic("request") == [
            ("error", "The receiver has no address in this site's URLs.")
        ]


def test_request__tells_why_the_receiver_refuses_it(webhook_setting):
    webhook_setting(MAX_BODY_BYTES=10)
    assert of_topic("request") == [
        (
            "error",
            "A signed delivery to 127.0.0.1 was answered 413: The body has more than 10 bytes.",
        )
    ]
    assert not Rejection.objects.exists()


def test_request__is_signed_with_the_secret_of_a_hook(webhook_setting):
    hook = {"SECRETS": [SECRET], "PROJECTS": ["web-*"]}
    webhook_setting(SECRETS=[], HOOKS={"empty": {}, "7": hook})
    assert of_topic("request")[0][0] == "ok"


def test_request__needs_a_secret(webhook_setting):
    webhook_setting(SECRETS=[])
    ((level, said),) = of_topic("request")
    assert level == "error"
    assert said.startswith("There is no secret to sign with")


@pytest.mark.parametrize(
    "hooks",
    [
        {"1": {"SECRETS": [SECRET], "PROJECTS": []}, "2": {"SECRETS": [SECRET]}},
        {"1": {"SECRETS": ["", SECRET]}},
        {"1": {"SECRETS": [SECRET], "PROJECTS": ["web-[ab]*"]}},
        {"1": {"SECRETS": [SECRET], "PROJECTS": ["[!x]", "w?b"]}},
        {"1": {"SECRETS": [SECRET], "PROJECTS": "shop-*"}},
    ],
)
def test_request__comes_from_a_hook_that_may_send_it(webhook_setting, hooks):
    webhook_setting(SECRETS=[], HOOKS=hooks)
    assert of_topic("request")[0][0] == "ok"


def test_request__cannot_come_from_a_hook_that_may_speak_of_nothing(webhook_setting):
    webhook_setting(SECRETS=[], HOOKS={"1": {"SECRETS": [SECRET], "PROJECTS": []}})
    ((level, said),) = of_topic("request")
    assert level == "error"
    assert "none of a hook that may speak of a project" in said


def test_request__is_unsigned_where_the_site_takes_that_and_has_no_secret(webhook_setting):
    webhook_setting(SECRETS=[], ALLOW_UNSIGNED=True)
    assert of_topic("request") == [
        ("ok", "An unsigned delivery to 127.0.0.1 was stored, and taken back.")
    ]


@pytest.mark.parametrize(
    ("middleware", "host", "to_blame"),
    [
        ("unsigning", "127.0.0.1", "PERFSEE_WEBHOOKS"),
        ("wall", "127.0.0.1", "middleware"),
        ("swallow", "127.0.0.1", "nothing was stored"),
        ("passage", "evil.example", "ALLOWED_HOSTS"),
    ],
)
def test_request__blames_what_refused_it(settings, middleware, host, to_blame):
    with_middleware(settings, middleware)
    (result,) = (found for found in examine(host=host) if found.topic == "request")
    assert result.level == "error"
    assert to_blame in result.advice


@pytest.mark.parametrize("processing", ["inline", "tests.replays.stay_put"])
def test_request__schedules_nothing(webhook_setting, connect, monkeypatch, processing):
    handed: list[int] = []
    monkeypatch.setattr("tests.replays.stay_put", handed.append)
    webhook_setting(PROCESSING=processing)
    receiver = connect()
    examined()
    assert (receiver.call_count, handed) == (0, [])


# Engine, sweep, clock, and the last day


def test_engine__of_the_sites_own(webhook_setting):
    webhook_setting(PROCESSING="tests.replays.stay_put")
    assert of_topic("engine")[0][0] == "ok"
    webhook_setting(PROCESSING="tests.replays.nothing")
    assert of_topic("engine")[0][0] == "error"


@pytest.mark.parametrize(
    ("backend", "level", "said"),
    [
        ("immediate.ImmediateBackend", "ok", "ImmediateBackend has taken a task"),
        ("dummy.DummyBackend", "ok", "whether a worker ran it, it cannot tell"),
        ("nothing.Nothing", "error", "does not take a task"),
    ],
)
def test_engine__of_django_tasks(settings, webhook_setting, monkeypatch, backend, level, said):
    settings.TASKS = {"default": {"BACKEND": f"{tasks._IMPLEMENTATION}.backends.{backend}"}}
    webhook_setting(PROCESSING="tasks")
    # A site has the setting before it imports the module, so that there is a task in it.
    if level == "ok":
        monkeypatch.setattr(tasks, "process_delivery", tasks.delivery_task())
    ((found, message),) = of_topic("engine")
    assert found == level, message
    assert said in message


def test_engine__runs_nothing_of_a_delivery(settings, webhook_setting, delivery, connect):
    receiver = connect()
    settings.TASKS = {
        "default": {"BACKEND": f"{tasks._IMPLEMENTATION}.backends.immediate.ImmediateBackend"}
    }
    webhook_setting(PROCESSING="tasks")
    of_topic("engine")
    assert receiver.call_count == 0


def test_receivers__are_named(connect):
    connect(bundle_finished)
    assert of_topic("receivers") == [("ok", "Connected: tests.receiver (bundle:finished).")]


def test_receivers__that_are_not_imported_are_missed(no_receivers):
    ((level, message),) = of_topic("receivers")
    assert (level, message.startswith("No receiver is connected")) == ("warning", True)


@pytest.mark.parametrize(
    ("beat", "is_overdue", "level", "said"),
    [
        (timedelta(0), False, "ok", "The sweep last ran 0 seconds ago."),
        (timedelta(0), True, "ok", "and is at work on what is overdue."),
        (timedelta(hours=1), False, "warning", "The sweep last ran 1\xa0hour ago."),
        (timedelta(hours=1), True, "error", "and 1 delivery waits for it."),
        (None, False, "warning", "The sweep has never run."),
        (None, True, "error", "The sweep has never run, and 1 delivery waits for it."),
    ],
)
def test_sweep__is_at_work(delivery, beat, is_overdue, level, said):
    Heartbeat.objects.all().delete()
    now = timezone.now()
    if beat is not None:
        Heartbeat.objects.create(name="sweep", beat_at=now - beat)
    Delivery.objects.update(handed_over_at=now - timedelta(hours=1) if is_overdue else now)
    ((found, message),) = of_topic("sweep")
    assert (found, message.endswith(said)) == (level, True), message


def test_clock__tells_how_far_apart(monkeypatch):
    monkeypatch.setattr(site, "CLOCKS_MAY_DIFFER_BY", timedelta(seconds=-1))
    expected = "ok" if connection.vendor == "sqlite" else "warning"
    assert of_topic("clock")[0][0] == expected


@pytest.mark.parametrize(
    ("vendor", "set_zone"),
    [("postgresql", "SET TIME ZONE {}"), ("mysql", "SET time_zone = {}")],
)
def test_clock__has_no_zone(vendor, set_zone):
    if connection.vendor != vendor:
        pytest.skip("is said otherwise to this database")
    with connection.cursor() as cursor:
        cursor.execute(set_zone.format("'+05:00'"))
        try:
            assert of_topic("clock")[0][0] == "ok"
        finally:
            cursor.execute(set_zone.format("DEFAULT"))


def test_last_day__is_looked_back_at(post):
    dead(2)
    post(b"{}", secret="wrong")
    assert of_topic("last day") == [
        ("warning", "2 of the deliveries of the last day are dead."),
        ("warning", "1 request of the last day was refused."),
    ]
    Rejection.objects.update(accepted_at=timezone.now())
    Delivery.objects.update(received_at=timezone.now() - timedelta(days=2))
    assert of_topic("last day") == []


# The command


def perfsee_doctor(*arguments):
    written = StringIO()
    call_command("perfsee_doctor", "--wait=0", *arguments, stdout=written)
    return written.getvalue()


def test_command__prints_what_it_finds():
    written = perfsee_doctor()
    assert "ok        settings: The system checks find nothing wrong.\n" in written
    assert len(written.splitlines()) == 7


def test_command__ends_with_an_error_and_says_what_to_do(settings, webhook_setting):
    webhook_setting(SECRETS=[])
    written = StringIO()
    with pytest.raises(CommandError, match=r"1 error found\."):
        call_command("perfsee_doctor", stdout=written)
    assert "error     request: There is no secret to sign with" in written.getvalue()
    assert "\n          Set SECRETS" in written.getvalue()


def test_command__as_json(webhook_setting):
    webhook_setting(SECRETS=["short"])
    told = json.loads(perfsee_doctor("--json"))
    assert told["worst"] == "warning"
    warning, *others = told["results"]
    assert warning["topic"] == "settings"
    assert {result["level"] for result in others} == {"ok"}


def test_command__shows_no_secret(webhook_setting):
    canary = "canary-in-the-settings"
    webhook_setting(SECRETS=[canary], HOOKS={"7": {"SECRETS": [f" {canary} "]}}, MAX_BODY_BYTES=1)
    written = StringIO()
    for arguments in ([], ["--json"]):
        with pytest.raises(CommandError):
            call_command("perfsee_doctor", *arguments, stdout=written)
    assert "HOOKS['7'].SECRETS[0]" in written.getvalue()
    assert canary not in written.getvalue()


def test_command__on_a_site_without_tables(tmp_path):
    environment = running_environment(f"sqlite:///{tmp_path / 'empty.sqlite3'}")
    ran = subprocess.run(
        [sys.executable, "manage.py", "perfsee_doctor"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 1
    assert "error     database: The tables in DATABASES['default'] cannot be read" in ran.stdout
    assert "manage.py migrate" in ran.stdout
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize(
    "setting", [{"SECRETS": 5}, {"LEASE": 5}, {"PROCESSING": None}, {"HOOKS": ["a"]}]
)
def test_examine__tells_what_it_could_not_examine(webhook_setting, setting):
    webhook_setting(**setting)
    found = examined()
    assert "error" in {level for level, topic, _message in found if topic == "settings"}
    assert "request" in {topic for _level, topic, _message in found}


@pytest.mark.parametrize("wait", ["-1", "nan", "inf"])
def test_command__waits_no_impossible_time(wait):
    with pytest.raises(CommandError, match="--wait has to be from 0 to 3600 seconds"):
        call_command("perfsee_doctor", f"--wait={wait}")


def test_command__finds_fault_with_an_impossible_host():
    with pytest.raises(CommandError, match="1 error found"):
        call_command("perfsee_doctor", "--host=[::", stdout=StringIO())


def read_all(get_response):
    """A middleware that has Django read each body."""

    def middleware(request):
        assert request.body is not None
        return get_response(request)

    return middleware


def test_request__finds_a_middleware_that_limits_bodies(settings):
    with_middleware(settings, "read_all")
    assert of_topic("request") == [("error", "A signed delivery to 127.0.0.1 was answered 400.")]


def fail(get_response):
    raise ValueError("broken")


def test_request__tells_of_a_site_that_does_not_start(settings):
    with_middleware(settings, "fail")
    assert of_topic("request") == [("error", "It could not be examined: ValueError: broken")]

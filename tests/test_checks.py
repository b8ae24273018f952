from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import django
import pytest
from django.conf import LazySettings
from django.core import checks
from django.db import OperationalError, connection, connections
from django.db.backends.sqlite3.base import DatabaseWrapper
from django.http.request import validate_host
from django.test import Client, override_settings
from django.urls import clear_url_caches, include, path
from django.utils import timezone

import perfsee_webhooks.checks
from perfsee_webhooks.checks import (
    check_database,
    check_server,
    check_settings,
    check_site,
    check_site_in_production,
    check_sweep,
)
from perfsee_webhooks.conf import DEFAULTS, SQLITE_OPTIONS
from perfsee_webhooks.models import Heartbeat

from .sites import ROOT

SECRET = "canary-of-sixteen-characters"
IMPLEMENTATION = "django.tasks" if django.VERSION >= (6, 0) else "django_tasks"
IMMEDIATE = f"{IMPLEMENTATION}.backends.immediate.ImmediateBackend"
UseSQLite = Callable[..., None]


class ToOther:
    """Routes everything to another database."""

    def db_for_write(self, model, **hints):
        return "other"


def ids_of(messages: list[checks.CheckMessage]) -> list[str]:
    return [str(message.id).removeprefix("perfsee_webhooks.") for message in messages]


def ids_for(settings: LazySettings, **keys: Any) -> list[str]:
    settings.PERFSEE_WEBHOOKS = {"SECRETS": [SECRET], **keys}
    return ids_of(check_settings())


@pytest.mark.parametrize(
    "setting",
    [
        {"SECRETS": [SECRET]},
        {"SECRETS": (SECRET, SECRET)},
        {"HOOKS": {"1": {"SECRETS": [SECRET], "PROJECTS": ["web-*"]}}},
        {"HOOKS": {"1": {"SECRETS": (SECRET,), "PROJECTS": None}, "2": {}}},
        {"SECRETS": [SECRET], **{key: DEFAULTS[key] for key in DEFAULTS if key != "SECRETS"}},
        {
            "SECRETS": [SECRET],
            "MAX_BODY_BYTES": 1,
            "MAX_ATTEMPTS": 1,
            "KEEP_REJECTIONS": 0,
            "PERFSEE_URL": "http://perfsee.example",
            "PROCESSING": "perfsee_webhooks.processing.process",
        },
    ],
    ids=["minimum", "tuple", "hooks alone", "hook without limits", "defaults", "everything"],
)
def test_check_settings__nothing_to_tell(settings: LazySettings, setting):
    settings.PERFSEE_WEBHOOKS = setting
    assert check_settings() == []


def test_check_settings__no_setting_at_all(settings: LazySettings):
    del settings.PERFSEE_WEBHOOKS
    assert ids_of(check_settings()) == ["W006"]


@pytest.mark.parametrize("setting", [None, [SECRET], SECRET, [("SECRETS", [SECRET])]], ids=repr)
def test_check_settings__no_dict(settings: LazySettings, setting):
    settings.PERFSEE_WEBHOOKS = setting
    assert ids_of(check_settings()) == ["E001"]


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("SECRET", "SECRETS"),
        ("secrets", "SECRETS"),
        ("MAX_ATTEMPT", "MAX_ATTEMPTS"),
        ("KEEP_REJECTS", "KEEP_REJECTIONS"),
        ("URL", "PERFSEE_URL"),
        ("PROCESS", "PROCESSING"),
    ],
)
def test_check_settings__unknown_key_names_the_nearest(settings: LazySettings, key, nearest):
    settings.PERFSEE_WEBHOOKS = {"SECRETS": [SECRET], key: SECRET}
    [error] = check_settings()
    assert (error.id, error.hint) == ("perfsee_webhooks.E002", f"Did you mean {nearest!r}?")
    assert repr(key) in error.msg


@pytest.mark.parametrize("key", ["", 7, None, "中文"], ids=repr)
def test_check_settings__unknown_key_like_no_other(settings: LazySettings, key):
    settings.PERFSEE_WEBHOOKS = {"SECRETS": [SECRET], key: 1}
    assert ids_of(check_settings()) == ["E002"]


@pytest.mark.parametrize(
    ("secrets", "ids"),
    [
        (SECRET, ["E003"]),
        (SECRET.encode(), ["E003"]),
        (7, ["E003"]),
        (None, ["E003", "W006"]),
        ([""], ["E003"]),
        ([None, 7, SECRET.encode(), SECRET], ["E003", "E003", "E003"]),
        ([f"{SECRET}\n"], ["W001"]),
        ([f" {SECRET}"], ["W001"]),
        ([SECRET[:15]], ["W002"]),
        ([SECRET[:16]], []),
        ([], ["W006"]),
        ((), ["W006"]),
        # What a list was not written for: it has no order, forgets its values or is used up by
        # the first that reads it, which is this check.
        ({SECRET}, ["E003"]),
        ({"current": SECRET}, ["E003"]),
        (filter(None, [SECRET]), ["E003"]),
        # An environment variable of bytes that are no UTF-8: it cannot be encoded as a key.
        ([f"{SECRET}\udcff"], ["E003"]),
    ],
    ids=[
        "text",
        "bytes",
        "number",
        "none",
        "an empty one",
        "no texts",
        "line end",
        "white space",
        "short",
        "long enough",
        "no list item",
        "no tuple item",
        "set",
        "dict",
        "iterator",
        "surrogate",
    ],
)
def test_check_settings__secrets(settings: LazySettings, secrets, ids):
    of_any_hook = ids_for(settings, SECRETS=secrets)
    assert of_any_hook == ids
    of_one_hook = ids_for(settings, HOOKS={"1": {"SECRETS": secrets}})
    assert of_one_hook == [message_id for message_id in ids if message_id != "W006"]


@pytest.mark.parametrize(
    ("hooks", "ids"),
    [
        (None, ["E004"]),
        ([SECRET], ["E004"]),
        (SECRET, ["E004"]),
        ({1: {"SECRETS": [SECRET]}}, ["E004"]),
        ({"1": [SECRET]}, ["E004"]),
        ({"1": SECRET}, ["E004"]),
        ({"1": None}, ["E004"]),
        ({"1": {"SECRET": [SECRET]}}, ["E004"]),
        ({"1": {"SECRETS": [SECRET], "PROJECTS": "web-*"}}, ["E004"]),
        ({"1": {"SECRETS": [SECRET], "PROJECTS": [7]}}, ["E004"]),
        ({"1": {"PROJECTS": ["web-*"]}}, ["W003"]),
        ({"1": {"PROJECTS": [], "SECRETS": []}}, ["W016", "W003"]),
        ({"1": None, "2": {"SECRETS": ["short"]}, "3": {"SECRETS": ""}}, ["E004", "W002", "E003"]),
    ],
)
def test_check_settings__hooks(settings: LazySettings, hooks, ids):
    assert ids_for(settings, HOOKS=hooks) == ids


@pytest.mark.parametrize(
    "hooks", [{}, {"1": {}}, {"1": {"SECRETS": []}}], ids=["none", "empty", "without secrets"]
)
def test_check_settings__no_secret_anywhere(settings: LazySettings, hooks):
    assert ids_for(settings, SECRETS=[], HOOKS=hooks) == ["W006"]


@pytest.mark.parametrize("secrets", [[], [SECRET]], ids=["alone", "beside secrets"])
def test_check_settings__unsigned_requests_accepted(settings: LazySettings, secrets):
    assert ids_for(settings, SECRETS=secrets, ALLOW_UNSIGNED=True) == ["W005"]


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("ALLOW_UNSIGNED", [None, 0, 1, "True"]),
        ("MAX_BODY_BYTES", [None, 0, -1, 1.5, "1", True]),
        ("MAX_ATTEMPTS", [None, 0, -1, 1.5, "1", True]),
        ("KEEP_REJECTIONS", [None, -1, 1.5, "1", True]),
        ("BACKOFF", [None, 30, timedelta(0), timedelta(-1)]),
        ("LEASE", [None, 30, timedelta(0), timedelta(-1)]),
        ("KEEP_BODIES", [30, timedelta(0), timedelta(-1), "never"]),
        ("KEEP_ROWS", [30, timedelta(0), timedelta(-1), "never"]),
        ("TASK_BACKEND", [None, "", 7, b"default"]),
        ("QUEUE", [None, "", 7, b"default"]),
        ("SPOOL_DIR", [7, True, ["/var/spool"], "", "spool", b"/var/spool", "/var/\0"]),
        ("DATABASE_WAIT", [None, 5, timedelta(-1), timedelta(seconds=21)]),
        ("SPOOL_MAX_FILES", [None, 0, -1, 1.5, "1", True]),
        ("SPOOL_MAX_BYTES", [None, 0, -1, 1.5, "1", True]),
        ("PERFSEE_URL", ["", "perfsee.example", "ftp://perfsee.example", 7]),
    ],
)
def test_check_settings__value_of_the_wrong_kind(settings: LazySettings, key, values):
    for value in values:
        assert ids_for(settings, **{key: value}) == ["E005"], value
        [error] = check_settings()
        assert repr(key) in error.msg
        assert repr(DEFAULTS[key]) in str(error.hint)


@pytest.mark.parametrize(
    "processing",
    [
        *(None, 7, [], b"inline", "", "INLINE", "later", "no.such.module", ".process", "..process"),
        *("perfsee_webhooks.processing.no_such_function", "perfsee_webhooks.conf.DEFAULTS"),
    ],
    ids=repr,
)
def test_check_settings__no_way_to_process(settings: LazySettings, processing):
    assert ids_for(settings, PROCESSING=processing) == ["E007"]


@pytest.mark.parametrize("processing", ["inline", "perfsee_webhooks.processing.process"])
def test_check_settings__way_to_process(settings: LazySettings, processing):
    assert ids_for(settings, PROCESSING=processing) == []


@pytest.mark.parametrize(
    ("backend", "queues", "ids"),
    [
        pytest.param("django_tasks_db.DatabaseBackend", ["default"], [], id="worker"),
        pytest.param("django_tasks_db.DatabaseBackend", [], [], id="any-queue"),
        pytest.param("django_tasks_db.DatabaseBackend", ["low"], ["E009"], id="no-such-queue"),
        pytest.param("no.such.Backend", ["default"], ["E009"], id="no-such-class"),
        pytest.param(IMMEDIATE, ["default"], ["W008"], id="immediate"),
    ],
)
def test_check_settings__task_engine(settings: LazySettings, backend, queues, ids):
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "django_tasks_db"]
    settings.TASKS = {"default": {"BACKEND": backend, "QUEUES": queues}}
    assert ids_for(settings, PROCESSING="tasks") == ids


def test_check_settings__task_backend_that_is_not_set(settings: LazySettings):
    settings.TASKS = {"default": {"BACKEND": IMMEDIATE}}
    assert ids_for(settings, PROCESSING="tasks", TASK_BACKEND="other") == ["E009"]


def test_check_settings__tells_all_mistakes_at_once(settings: LazySettings):
    ids = ids_for(settings, QUEU=1, LEASE=5, SECRETS=[""], HOOKS=[], PROCESSING="x")
    assert ids == ["E002", "E005", "E003", "E004", "E007"]


@pytest.mark.parametrize(
    "setting",
    [
        SECRET,
        [SECRET],
        {"SECRETS": SECRET},
        {"SECRETS": [f" {SECRET} ", SECRET[:15], SECRET.encode()]},
        {"SECRET": SECRET, "MAX_ATTEMPTS": SECRET, "PERFSEE_URL": SECRET, "LEASE": SECRET},
        {"HOOKS": SECRET},
        {"HOOKS": {"1": SECRET}},
        {"HOOKS": {"1": {"SECRET": [SECRET]}}},
        {"HOOKS": {"1": {"SECRETS": SECRET}, "2": {"SECRETS": [f" {SECRET}", SECRET[:15]]}}},
        {"SECRETS": [SECRET], "PROCESSING": SECRET},
    ],
)
def test_check_settings__never_shows_a_secret(settings: LazySettings, setting):
    settings.PERFSEE_WEBHOOKS = setting
    messages = check_settings()
    assert messages
    assert "canary" not in str(messages) + repr([vars(message) for message in messages])


@pytest.fixture
def use_sqlite() -> Iterator[UseSQLite]:
    """Puts a SQLite database that nobody connects to in the place of one, on each database."""
    replaced: dict[str, Any] = {}

    def use(alias: str = "default", **changes: Any) -> None:
        replaced[alias] = connections[alias] if alias in connections.settings else None
        connections[alias] = DatabaseWrapper(
            {**connections["default"].settings_dict, "OPTIONS": {}, **changes}, alias
        )

    yield use
    for alias, wrapper in replaced.items():
        if wrapper is None:
            del connections[alias]
        else:
            connections[alias] = wrapper


@pytest.mark.parametrize("autocommit", [True, False])
def test_check_database__autocommit(monkeypatch: pytest.MonkeyPatch, autocommit):
    monkeypatch.setitem(connections["default"].settings_dict, "AUTOCOMMIT", autocommit)
    assert ids_of(check_database()) == ([] if autocommit else ["E008"])


@pytest.mark.parametrize(
    "options",
    [
        SQLITE_OPTIONS,
        {"transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode=wal"},
        {**SQLITE_OPTIONS, "transaction_mode": "immediate"},
    ],
    ids=["the options of the app", "another spelling", "lower case"],
)
def test_check_database__sqlite_that_waits(use_sqlite: UseSQLite, options):
    use_sqlite(OPTIONS=options)
    assert check_database() == []


@pytest.mark.parametrize(
    "options",
    [
        {},
        {**SQLITE_OPTIONS, "transaction_mode": None},
        {**SQLITE_OPTIONS, "transaction_mode": "DEFERRED"},
        {**SQLITE_OPTIONS, "init_command": None},
        {**SQLITE_OPTIONS, "init_command": "PRAGMA journal_mode = DELETE;"},
    ],
    ids=["no options", "default mode", "deferred", "no command", "no WAL"],
)
def test_check_database__sqlite_that_fails_at_once(
    use_sqlite: UseSQLite, options: Mapping[str, Any]
):
    use_sqlite(OPTIONS=options)
    assert ids_of(check_database()) == ["W004"]


@pytest.mark.parametrize("mode", ["NORMAL", "OFF"])
def test_check_database__sqlite_that_forgets_what_it_committed(use_sqlite: UseSQLite, mode):
    # A commit that is not on the disk is lost with the power, after its 204.
    command = f"PRAGMA journal_mode = WAL; PRAGMA synchronous = {mode};"
    use_sqlite(OPTIONS={**SQLITE_OPTIONS, "init_command": command})
    assert ids_of(check_database()) == ["W007"]


def test_check_database__of_the_deliveries(settings: LazySettings, use_sqlite: UseSQLite):
    use_sqlite("other", AUTOCOMMIT=False)
    assert check_database() == []
    settings.DATABASE_ROUTERS = [f"{__name__}.ToOther"]
    messages = check_database()
    assert ids_of(messages) == ["E008", "W004"]
    assert all("DATABASES['other']" in message.msg for message in messages)


def test_check_settings__spool_is_written_and_read_by_the_site_alone(settings, tmp_path):
    folder = tmp_path / "spool"
    settings.MEDIA_ROOT = str(tmp_path / "media")
    assert ids_for(settings, SPOOL_DIR=folder) == []
    folder.mkdir(mode=0o700)
    assert ids_for(settings, SPOOL_DIR=str(folder)) == []
    folder.chmod(0o750)
    assert ids_for(settings, SPOOL_DIR=folder) == ["W025"]
    assert ids_for(settings, SPOOL_DIR=tmp_path / "media" / "spool") == ["W010"]
    (tmp_path / "file").touch()
    assert ids_for(settings, SPOOL_DIR=tmp_path / "file") == ["W024"]


def test_check_settings__bodies_are_not_kept_for_longer_than_their_rows(settings: LazySettings):
    day = timedelta(days=1)
    assert ids_for(settings, KEEP_BODIES=day, KEEP_ROWS=day) == []
    assert ids_for(settings, KEEP_BODIES=2 * day, KEEP_ROWS=day) == ["W011"]


def test_check_database__connections_that_nobody_looks_after(monkeypatch: pytest.MonkeyPatch):
    setting = connections["default"].settings_dict
    monkeypatch.setitem(setting, "CONN_HEALTH_CHECKS", False)
    assert ids_of(check_database()) == ["W009"]
    with override_settings(PERFSEE_WEBHOOKS={"DATABASE_WAIT": timedelta(seconds=1)}):
        assert ids_of(check_database()) == []
    monkeypatch.setitem(setting, "CONN_MAX_AGE", 0)
    assert ids_of(check_database()) == []


def test_checks__are_registered(settings: LazySettings, monkeypatch: pytest.MonkeyPatch):
    settings.PERFSEE_WEBHOOKS = {}
    monkeypatch.setitem(connections["default"].settings_dict, "AUTOCOMMIT", False)
    assert sorted(ids_of(checks.run_checks(tags=["perfsee_webhooks"], databases=[]))) == [
        "E008",
        "W006",
    ]


# Secrets and hooks, further


@pytest.mark.parametrize(
    "secret",
    [
        *("secret", "changeme", "Change-Me-Please", "YOUR_SECRET_HERE", "my-webhook-secret"),
        *("replace me now", "xxxxxxxxxxxxxxxxxxxx", "0000000000000000", "password123", "…"),
        *("<the hook's secret in Perfsee>", "${PERFSEE_SECRET}", "{{ perfsee_secret }}", "todo"),
    ],
)
def test_check_settings__placeholder_of_a_secret(settings: LazySettings, secret):
    assert ids_for(settings, SECRETS=[secret]) == ["W014"]


@pytest.mark.parametrize(
    "secret",
    [
        "It’s a secret 🔑!",
        "secret-of-the-shop-4711",
        "correct horse battery staple",
        "9" * 15 + "8",
    ],
)
def test_check_settings__no_placeholder(settings: LazySettings, secret):
    assert ids_for(settings, SECRETS=[secret]) == []


@pytest.mark.parametrize("hook_id", ["", " 1", "1\n", "1\x00", "x" * 300])
def test_check_settings__id_of_no_hook(settings: LazySettings, hook_id):
    assert ids_for(settings, HOOKS={hook_id: {"SECRETS": [SECRET]}}) == ["W015"]


@pytest.mark.parametrize("projects", [[], [""], ["web-*", " web"], ("web\n",)])
def test_check_settings__projects_that_there_are_not(settings: LazySettings, projects):
    hooks = {"1": {"SECRETS": [SECRET], "PROJECTS": projects}}
    assert ids_for(settings, HOOKS=hooks) == ["W016"]


# The setting, further


@pytest.mark.parametrize("key", ["TASK_BACKEND", "QUEUE"])
def test_check_settings__key_that_only_tasks_heed(settings: LazySettings, key):
    assert ids_for(settings, **{key: "other"}) == ["W012"]


@pytest.mark.parametrize(
    ("url", "ids"),
    [
        ("https://perfsee.example/base/", []),
        ("https://", ["E005"]),
        ("https:///perfsee", ["E005"]),
        ("http://[::1", ["E005"]),
        ("https://user:canary@perfsee.example", ["W013"]),
        ("https://perfsee.example/?token=canary", ["W013"]),
        ("https://perfsee.example/#home", ["W013"]),
        ("https://perfsee.example ", ["W013"]),
    ],
)
def test_check_settings__address_of_perfsee(settings: LazySettings, url, ids):
    assert ids_for(settings, PERFSEE_URL=url) == ids
    assert "canary" not in str(check_settings())


# The way of a request


@pytest.fixture
def urls(settings: LazySettings) -> Iterator[Callable[[list[Any]], None]]:
    """Gives the site other addresses for one test."""

    def use(patterns: list[Any]) -> None:
        module = ModuleType("urls_of_a_test")
        module.urlpatterns = patterns  # type: ignore[attr-defined]  # of a module made here
        settings.ROOT_URLCONF = module

    yield use
    clear_url_caches()


def test_check_site__nothing_to_tell():
    assert check_site() == []


def test_check_site__receiver_without_an_address(urls, settings: LazySettings):
    urls([])
    assert ids_of(check_site()) == ["W017"]
    urls([path("x/", include("perfsee_webhooks.urls", namespace="other"))])
    assert check_site() == []
    del settings.ROOT_URLCONF
    assert check_site() == []


def test_check_site__api_without_its_apps(urls, settings: LazySettings):
    api = path("api/", include(([], "perfsee_webhooks_api")))
    urls([path("perfsee/", include("perfsee_webhooks.urls")), api])
    assert check_site() == []
    settings.INSTALLED_APPS = [
        name for name in settings.INSTALLED_APPS if name not in ("rest_framework", "django_filters")
    ]
    [error] = check_site()
    assert error.id == "perfsee_webhooks.E010"
    assert "rest_framework and django_filters" in error.msg


@pytest.mark.parametrize(
    ("host", "ids"),
    [
        *(("*", []), ("hooks.example.com", []), (".example.com", []), ("[::1]", [])),
        *(("127.0.0.1", []), ("https://hooks.example.com", ["W018"])),
        *(("hooks.example.com:8000", ["W018"]), ("hooks.example.com/", ["W018"])),
        *((" hooks.example.com", ["W018"]), ("*.example.com", ["W018"]), ("", ["W018"])),
    ],
)
def test_check_site__hosts(settings: LazySettings, host, ids):
    settings.ALLOWED_HOSTS = [host]
    assert ids_of(check_site()) == ids
    if ids:
        # It is as the message says, or the check would be wrong.
        assert not validate_host(host.removeprefix("https://").split(":")[0].strip(" /*"), [host])


@pytest.mark.parametrize(
    ("header", "ids"),
    [
        (None, []),
        (("HTTP_X_FORWARDED_PROTO", "https"), []),
        (("X-Forwarded-Proto", "https"), ["W019"]),
        (("HTTP_X-Forwarded-Proto", "https"), ["W019"]),
        ("HTTP_X_FORWARDED_PROTO", ["W019"]),
        (("HTTP_X_FORWARDED_PROTO",), ["W019"]),
    ],
)
def test_check_site__header_of_the_proxy(settings: LazySettings, header, ids):
    settings.SECURE_PROXY_SSL_HEADER = header
    assert ids_of(check_site()) == ids


@pytest.fixture
def bare(settings: LazySettings) -> LazySettings:
    """A site with Django's own middleware only."""
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if name.startswith("django.")]
    return settings


@pytest.mark.django_db
def test_check_site_in_production__redirects(bare):
    def status():
        return Client().post("/perfsee/webhook/").status_code

    assert check_site_in_production() == []
    bare.SECURE_SSL_REDIRECT = True
    assert ids_of(check_site_in_production()) == ["W020"]
    bare.SECURE_REDIRECT_EXEMPT = [r"^perfsee/webhook/?$"]
    assert check_site_in_production() == []
    assert status() == 400
    bare.SECURE_REDIRECT_EXEMPT = [r"^health$"]
    assert status() == 301
    assert ids_of(check_site_in_production()) == ["W020"]
    bare.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    assert check_site_in_production() == []


def test_check_site_in_production__www(bare, client):
    bare.PREPEND_WWW = True
    assert ids_of(check_site_in_production()) == ["W021"]
    assert client.post("/perfsee/webhook/").status_code == 301
    bare.MIDDLEWARE = []
    assert check_site_in_production() == []


def test_check_site_in_production__limit_of_a_body(bare, webhook_setting):
    bare.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
    webhook_setting(MAX_BODY_BYTES=1001)
    assert check_site_in_production() == [], "the receiver itself heeds no limit of Django"
    bare.MIDDLEWARE = [*bare.MIDDLEWARE, "mysite.middleware.log_bodies"]
    [warning] = check_site_in_production()
    assert warning.id == "perfsee_webhooks.W022"
    assert "Not of Django are: mysite.middleware.log_bodies." in warning.msg
    webhook_setting(MAX_BODY_BYTES=1000)
    assert check_site_in_production() == []
    webhook_setting(MAX_BODY_BYTES="1001")
    assert check_site_in_production() == []


def reads_the_body(get_response):
    def middleware(request):
        _read = request.body
        return get_response(request)

    return middleware


@pytest.mark.django_db
@pytest.mark.usefixtures("nothing_runs")
@pytest.mark.parametrize(("own", "status"), [((), 204), ((f"{__name__}.reads_the_body",), 400)])
def test_check_site_in_production__is_right_about_that_limit(bare, post, body, own, status):
    bare.DATA_UPLOAD_MAX_MEMORY_SIZE = len(body) - 1
    bare.MIDDLEWARE = [*bare.MIDDLEWARE, *own]
    assert post(body).status_code == status


# The sweep


@pytest.fixture
def in_production(settings: LazySettings) -> LazySettings:
    settings.DEBUG = False
    settings.PERFSEE_WEBHOOKS = {"SECRETS": [SECRET], "LEASE": timedelta(minutes=5)}
    return settings


def test_check_sweep__inline_processing_needs_one(in_production, webhook_setting):
    assert ids_of(check_sweep()) == ["W023"]
    assert ids_of(check_sweep(databases=["other"])) == ["W023"]
    webhook_setting(PROCESSING="perfsee_webhooks.processing.process")
    assert check_sweep() == []
    webhook_setting(PROCESSING="inline", LEASE=5)
    assert check_sweep() == []
    webhook_setting(LEASE=timedelta(minutes=5))
    in_production.DEBUG = True
    assert check_sweep() == []


@pytest.mark.django_db
def test_check_sweep__looks_whether_one_ran(in_production, take_away):
    assert ids_of(check_sweep(databases=["default"])) == ["W023"]
    Heartbeat.objects.create(name="sweep", beat_at=timezone.now() - timedelta(minutes=6))
    assert ids_of(check_sweep(databases=["default"])) == ["W023"]
    Heartbeat.objects.update(beat_at=timezone.now())
    assert check_sweep(databases=["default"]) == []
    take_away(Heartbeat)
    assert ids_of(check_sweep(databases=["default"])) == ["W023"]


# All of them


@pytest.mark.django_db  # Django 6.1 names the databases to the checks by itself
def test_checks__are_told_in_production_only_where_they_are_for_it(in_production, urls):
    in_production.SECURE_SSL_REDIRECT = True
    urls([])
    tag = ["perfsee_webhooks"]
    assert sorted(ids_of(checks.run_checks(tags=tag))) == ["W017"]
    found = ids_of(checks.run_checks(tags=tag, include_deployment_checks=True))
    assert sorted(found) == ["W017", "W020", "W022", "W023"]


def messages_written() -> Iterator[tuple[str, bool]]:
    """Yield the id of each message in the code, and whether it has a hint."""
    for module in sorted(Path(perfsee_webhooks.checks.__path__[0]).glob("*.py")):
        for node in ast.walk(ast.parse(module.read_bytes())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("Error", "Warning"):
                given = {keyword.arg: keyword.value for keyword in node.keywords}
                yield ast.literal_eval(given["id"]), "hint" in given


def test_check_database__connections_that_add_up_under_asgi(settings, monkeypatch):
    monkeypatch.setitem(connections["default"].settings_dict, "CONN_MAX_AGE", 60)
    monkeypatch.setitem(connections["default"].settings_dict, "CONN_HEALTH_CHECKS", True)
    assert check_database() == []
    settings.ASGI_APPLICATION = "site.asgi.application"
    assert ids_of(check_database()) == ["W026"]
    monkeypatch.setitem(connections["default"].settings_dict, "CONN_MAX_AGE", 0)
    assert check_database() == []


@pytest.mark.parametrize(("charset", "told"), [("utf8", ["W027"]), ("utf8mb4", []), (None, [])])
def test_check_database__letters_that_mysql_does_not_take(monkeypatch, charset, told):
    options = {"charset": charset} if charset else {}
    monkeypatch.setattr(connections["default"], "vendor", "mysql")
    monkeypatch.setitem(connections["default"].settings_dict, "OPTIONS", options)
    assert ids_of(check_database()) == told


@pytest.mark.django_db
def test_check_server__asks_only_where_the_database_is_asked_for():
    assert check_server(databases=["default"]) == []
    with connection.execute_wrapper(fail):
        assert check_server() == check_server(databases=["other"]) == []


def fail(*args: Any) -> None:
    raise AssertionError("The database was asked.")


@pytest.mark.django_db
def test_check_server__is_silent_about_one_that_is_away():
    def be_away(*args: Any) -> None:
        raise OperationalError

    with connection.execute_wrapper(be_away):
        assert check_server(databases=["default"]) == []


@pytest.mark.django_db
def test_check_server__asks_mysql_whether_it_waits_for_its_disk():
    if connection.vendor != "mysql":
        pytest.skip("asks what MySQL and MariaDB alone have")

    def answer(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        return execute(sql.replace("@@innodb_flush_log_at_trx_commit", "2"), *rest)

    with connection.execute_wrapper(answer):
        assert ids_of(check_server(databases=["default"])) == ["W031"]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("SET sql_mode = ''", "W028"),
        ("SET sql_mode = 'ANSI'", "W028"),
        ("SET @nothing = 1", None),
    ],
)
def test_check_server__asks_mysql(command, told):
    if connection.vendor != "mysql":
        pytest.skip("asks what MySQL and MariaDB alone have")
    with connection.cursor() as cursor:
        cursor.execute("SET @before = @@sql_mode")
        cursor.execute(command)
        try:
            assert (told in ids_of(check_server(databases=["default"]))) is (told is not None)
        finally:
            cursor.execute("SET sql_mode = @before")


@pytest.mark.django_db
def test_check_server__knows_how_large_a_statement_may_be(webhook_setting):
    if connection.vendor != "mysql":
        pytest.skip("asks what MySQL and MariaDB alone have")
    webhook_setting(MAX_BODY_BYTES=100 * 1024 * 1024)
    assert "W029" in ids_of(check_server(databases=["default"]))


@pytest.mark.django_db
def test_check_server__asks_for_the_zone_of_the_site(settings):
    if connection.vendor != "mysql":
        pytest.skip("asks what MySQL and MariaDB alone have")
    settings.TIME_ZONE = "Nowhere/Nothing"
    assert "W030" in ids_of(check_server(databases=["default"]))


@pytest.mark.django_db
def test_check_server__asks_postgresql_whether_it_waits_for_its_disk():
    if connection.vendor != "postgresql":
        pytest.skip("asks what PostgreSQL alone has")
    for mode, told in (("on", []), ("off", ["W031"])):
        with connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL synchronous_commit = {mode}")
        assert ids_of(check_server(databases=["default"])) == told


# A site may silence an id: what it stands for does not change, and it is not given away again.
IDS = {
    *("E001", "E002", "E003", "E004", "E005", "E007", "E008", "E009", "E010"),
    *(f"W{number:03}" for number in range(1, 32)),
}


def test_checks__have_stable_ids_and_hints():
    written = list(messages_written())
    assert {message_id for message_id, _has_hint in written} == {
        f"perfsee_webhooks.{short}" for short in IDS
    }
    assert all(has_hint for _message_id, has_hint in written)
    often = Counter(message_id for message_id, _has_hint in written)
    # One for each way in which a list of secrets can be none.
    assert {message_id for message_id, number in often.items() if number > 1} == {
        "perfsee_webhooks.E003"
    }


def test_checks__each_id_is_documented_and_tested():
    documented = (ROOT / "docs" / "settings.md").read_text()
    tests = Path(__file__).read_text()
    for short in IDS:
        assert f"`perfsee_webhooks.{short}` | " in documented, short
        assert f'"{short}"' in tests or f'"perfsee_webhooks.{short}"' in tests, short

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import Any

import django
import pytest
from django.conf import LazySettings
from django.core import checks
from django.db import connections
from django.db.backends.sqlite3.base import DatabaseWrapper

from perfsee_webhooks.checks import check_database, check_settings
from perfsee_webhooks.conf import DEFAULTS, SQLITE_OPTIONS

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
        ({"1": {"PROJECTS": [], "SECRETS": []}}, ["W003"]),
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
        ("SPOOL_DIR", [7, True, ["/var/spool"]]),
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
    for alias, connection in replaced.items():
        if connection is None:
            del connections[alias]
        else:
            connections[alias] = connection


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
    assert len(check_database()) == 1


def test_check_database__of_the_deliveries(settings: LazySettings, use_sqlite: UseSQLite):
    use_sqlite("other", AUTOCOMMIT=False)
    assert check_database() == []
    settings.DATABASE_ROUTERS = [f"{__name__}.ToOther"]
    messages = check_database()
    assert ids_of(messages) == ["E008", "W004"]
    assert all("DATABASES['other']" in message.msg for message in messages)


def test_check_settings__key_without_effect(settings: LazySettings):
    assert ids_for(settings, SPOOL_DIR="/srv/spool") == ["W010"]


def test_check_settings__bodies_are_not_kept_for_longer_than_their_rows(settings: LazySettings):
    day = timedelta(days=1)
    assert ids_for(settings, KEEP_BODIES=day, KEEP_ROWS=day) == []
    assert ids_for(settings, KEEP_BODIES=2 * day, KEEP_ROWS=day) == ["W011"]


def test_check_database__connections_that_nobody_looks_after(monkeypatch: pytest.MonkeyPatch):
    setting = connections["default"].settings_dict
    monkeypatch.setitem(setting, "CONN_HEALTH_CHECKS", False)
    assert ids_of(check_database()) == ["W009"]
    monkeypatch.setitem(setting, "CONN_MAX_AGE", 0)
    assert ids_of(check_database()) == []


def test_checks__are_registered(settings: LazySettings, monkeypatch: pytest.MonkeyPatch):
    settings.PERFSEE_WEBHOOKS = {}
    monkeypatch.setitem(connections["default"].settings_dict, "AUTOCOMMIT", False)
    assert sorted(ids_of(checks.run_checks(tags=["perfsee_webhooks"]))) == ["E008", "W006"]

from __future__ import annotations

import dataclasses
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import LazySettings
from django.test import override_settings

from perfsee_webhooks.conf import DEFAULTS, Secret, WebhookSettings, webhook_settings

# Each property: what it is by default, a value that a site may set, and what is read of that.
PROPERTIES = {
    "SECRETS": ((), ["a", "b"], ["a", "b"]),
    "HOOKS": ({}, {"1": {}}, {"1": {}}),
    "ALLOW_UNSIGNED": (False, True, True),
    "REFUSE_SAME_BODY": (False, True, True),
    "MAX_BODY_BYTES": (10 * 1024 * 1024, 1, 1),
    "PROCESSING": ("inline", "tasks", "tasks"),
    "TASK_BACKEND": ("default", "slow", "slow"),
    "QUEUE": ("default", "perfsee", "perfsee"),
    "MAX_ATTEMPTS": (8, 1, 1),
    "BACKOFF": (timedelta(seconds=30), timedelta(1), timedelta(1)),
    "LEASE": (timedelta(minutes=5), timedelta(1), timedelta(1)),
    "KEEP_BODIES": (None, timedelta(1), timedelta(1)),
    "KEEP_ROWS": (None, timedelta(1), timedelta(1)),
    "KEEP_REJECTIONS": (1000, 0, 0),
    "DATABASE_WAIT": (timedelta(seconds=5), timedelta(0), timedelta(0)),
    "SPOOL_MAX_FILES": (10_000, 1, 1),
    "SPOOL_MAX_BYTES": (256 * 1024 * 1024, 1, 1),
    "SPOOL_DIR": (None, "/var/spool", Path("/var/spool")),
    "PERFSEE_URL": (None, "https://perfsee.example/", "https://perfsee.example"),
}


def test_webhook_settings__a_property_for_each_key():
    assert PROPERTIES.keys() == DEFAULTS.keys()
    declared = {
        name for name, value in vars(WebhookSettings).items() if isinstance(value, property)
    }
    assert declared == {key.lower() for key in PROPERTIES}


@pytest.mark.parametrize("key", PROPERTIES)
def test_webhook_settings__default_and_live_value(settings: LazySettings, key):
    default, value, read = PROPERTIES[key]
    settings.PERFSEE_WEBHOOKS = {}
    assert getattr(webhook_settings, key.lower()) == default
    with override_settings(PERFSEE_WEBHOOKS={key: value}):
        assert getattr(webhook_settings, key.lower()) == read
    assert getattr(webhook_settings, key.lower()) == default


def test_webhook_settings__no_setting_at_all(settings: LazySettings):
    del settings.PERFSEE_WEBHOOKS
    assert webhook_settings.processing == "inline"
    assert webhook_settings.secrets_for("1") == []


@pytest.mark.parametrize("value", [1, "yes", None, [True]], ids=repr)
def test_allow_unsigned__nothing_but_true_opens_the_door(webhook_setting, value):
    webhook_setting(ALLOW_UNSIGNED=value)
    assert webhook_settings.allow_unsigned is False


@pytest.mark.parametrize(
    ("url", "read"),
    [("https://a", "https://a"), ("https://a//", "https://a"), ("", None), (None, None)],
)
def test_perfsee_url__without_last_slash(webhook_setting, url, read):
    webhook_setting(PERFSEE_URL=url)
    assert webhook_settings.perfsee_url == read


def test_secrets_for__own_first_then_those_for_any_hook(webhook_setting):
    webhook_setting(
        SECRETS=["new", "old 🔑"], HOOKS={"it's": {"SECRETS": ("own", "")}, "2": {"PROJECTS": []}}
    )
    for_any = [
        Secret(label="SECRETS[0]", key=b"new"),
        Secret(label="SECRETS[1]", key="old 🔑".encode()),
    ]
    assert webhook_settings.secrets_for("it's") == [
        Secret(label="""HOOKS["it's"].SECRETS[0]""", key=b"own"),
        Secret(label="""HOOKS["it's"].SECRETS[1]""", key=b""),
        *for_any,
    ]
    assert webhook_settings.secrets_for("2") == for_any
    assert webhook_settings.secrets_for("unknown") == webhook_settings.secrets_for("") == for_any


def test_projects_for(webhook_setting):
    webhook_setting(HOOKS={"1": {"PROJECTS": ["web-*"]}, "2": {}, "3": {"PROJECTS": []}})
    read = [webhook_settings.projects_for(hook_id) for hook_id in ("1", "2", "3", "unknown")]
    assert read == [["web-*"], None, [], None]


def test_defaults__cannot_be_changed():
    with pytest.raises(TypeError):
        DEFAULTS["SECRETS"] = ["mine"]  # type: ignore[index]
    with pytest.raises(TypeError):
        DEFAULTS["HOOKS"]["1"] = {}


def test_secret__cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Secret(label="SECRETS[0]", key=b"").key = b"mine"  # type: ignore[misc]

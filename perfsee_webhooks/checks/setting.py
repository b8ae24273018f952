"""What the `PERFSEE_WEBHOOKS` setting can have wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches
from typing import Any, Final
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning  # noqa: A004  # Django's own name
from django.utils.module_loading import import_string

from ..conf import DEFAULTS, INLINE, TASKS
from ..tasks import delivery_task
from .secrets import check_hooks, check_secrets, has_secrets
from .spool import check_spool, is_folder


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rule:
    """What the value of a key has to be, in words and as a test."""

    expected: str
    holds: Callable[[Any], bool]


def _is_whole(value: Any, smallest: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= smallest


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _is_duration(value: Any) -> bool:
    return isinstance(value, timedelta) and value > timedelta(0)


def _is_address(value: Any) -> bool:
    if not _is_text(value) or not value.startswith(("https://", "http://")):
        return False
    try:
        return bool(urlsplit(value).hostname)
    except ValueError:
        return False


_DURATION: Final = _Rule(expected="a timedelta above zero", holds=_is_duration)
_DURATION_OR_NONE: Final = _Rule(
    expected="a timedelta above zero, or None", holds=lambda v: v is None or _is_duration(v)
)

_RULES: Final[Mapping[str, _Rule]] = {
    "ALLOW_UNSIGNED": _Rule(expected="True or False", holds=lambda v: isinstance(v, bool)),
    "REFUSE_SAME_BODY": _Rule(expected="True or False", holds=lambda v: isinstance(v, bool)),
    "MAX_BODY_BYTES": _Rule(expected="a number of bytes", holds=lambda v: _is_whole(v, 1)),
    "MAX_ATTEMPTS": _Rule(expected="a number of 1 or more", holds=lambda v: _is_whole(v, 1)),
    "KEEP_REJECTIONS": _Rule(expected="a number of rows", holds=lambda v: _is_whole(v, 0)),
    "BACKOFF": _DURATION,
    "LEASE": _DURATION,
    "KEEP_BODIES": _DURATION_OR_NONE,
    "KEEP_ROWS": _DURATION_OR_NONE,
    "TASK_BACKEND": _Rule(expected="the alias of a task backend", holds=_is_text),
    "QUEUE": _Rule(expected="the name of a queue", holds=_is_text),
    # Perfsee waits 30 seconds for the answer.
    "DATABASE_WAIT": _Rule(
        expected="a timedelta of 20 seconds at most",
        holds=lambda v: isinstance(v, timedelta) and timedelta(0) <= v <= timedelta(seconds=20),
    ),
    "SPOOL_DIR": _Rule(
        expected="the absolute path of a folder, or None",
        holds=lambda v: v is None or is_folder(v),
    ),
    "SPOOL_MAX_FILES": _Rule(expected="a number of files", holds=lambda v: _is_whole(v, 1)),
    "SPOOL_MAX_BYTES": _Rule(expected="a number of bytes", holds=lambda v: _is_whole(v, 1)),
    "PERFSEE_URL": _Rule(
        expected="an address that begins with https:// or http://, or None",
        holds=lambda v: v is None or _is_address(v),
    ),
}


def check_settings(**_kwargs: Any) -> list[CheckMessage]:
    """Check the `PERFSEE_WEBHOOKS` setting. Messages show where a secret is, never the secret."""
    setting = getattr(settings, "PERFSEE_WEBHOOKS", {})
    if not isinstance(setting, Mapping):
        return [
            Error(
                "PERFSEE_WEBHOOKS is not a dict.",
                hint='Write PERFSEE_WEBHOOKS = {"SECRETS": ["…"]}.',
                id="perfsee_webhooks.E001",
            )
        ]
    values = {**DEFAULTS, **setting}
    return [
        *_unknown_keys(setting),
        *_broken_rules(values),
        *_without_effect(values),
        *_pruning(values),
        *_perfsee_url(values["PERFSEE_URL"]),
        *check_spool(values["SPOOL_DIR"]),
        *check_secrets("SECRETS", values["SECRETS"]),
        *check_hooks(values["HOOKS"]),
        *_nothing_to_verify_with(values),
        *_processing(values["PROCESSING"]),
    ]


def is_sound() -> bool:
    """Say whether the setting holds no error, so that others may read it."""
    return not any(message.is_serious() for message in check_settings())


def _without_effect(values: Mapping[str, Any]) -> Iterator[CheckMessage]:
    for key in ("TASK_BACKEND", "QUEUE"):
        if values["PROCESSING"] != TASKS and values[key] != DEFAULTS[key] and _is_text(values[key]):
            yield Warning(
                f"PERFSEE_WEBHOOKS[{key!r}] has no effect without PROCESSING 'tasks'.",
                hint="Set PROCESSING to 'tasks', or remove it.",
                id="perfsee_webhooks.W012",
            )


def _pruning(values: Mapping[str, Any]) -> Iterator[CheckMessage]:
    bodies, rows = values["KEEP_BODIES"], values["KEEP_ROWS"]
    if _is_duration(bodies) and _is_duration(rows) and rows < bodies:
        yield Warning(
            "PERFSEE_WEBHOOKS keeps bodies for longer than rows, which hold them.",
            hint="Let KEEP_ROWS be the longer one: a delivery id is known as long as its row is.",
            id="perfsee_webhooks.W011",
        )


def _perfsee_url(url: Any) -> Iterator[CheckMessage]:
    if not _is_address(url):
        return
    parts = urlsplit(url)
    if parts.query or parts.fragment or "@" in parts.netloc or url != url.strip():
        yield Warning(
            "PERFSEE_WEBHOOKS['PERFSEE_URL'] has more than a scheme, a host and a path: it is the "
            "beginning of links that people see.",
            hint="Remove user, password, query and fragment: 'https://perfsee.example.com'.",
            id="perfsee_webhooks.W013",
        )


def _unknown_keys(setting: Mapping[str, Any]) -> Iterator[CheckMessage]:
    for key in setting:
        if key not in DEFAULTS:
            nearest = get_close_matches(str(key).upper(), DEFAULTS, n=1, cutoff=0)[0]
            yield Error(
                f"PERFSEE_WEBHOOKS has an unknown key {key!r}.",
                hint=f"Did you mean {nearest!r}?",
                id="perfsee_webhooks.E002",
            )


def _broken_rules(values: Mapping[str, Any]) -> Iterator[CheckMessage]:
    for key, rule in _RULES.items():
        if not rule.holds(values[key]):
            yield Error(
                f"PERFSEE_WEBHOOKS[{key!r}] is not {rule.expected}.",
                hint=f"The default is {DEFAULTS[key]!r}.",
                id="perfsee_webhooks.E005",
            )


def _nothing_to_verify_with(values: Mapping[str, Any]) -> Iterator[CheckMessage]:
    if values["ALLOW_UNSIGNED"] is True:
        yield Warning(
            "PERFSEE_WEBHOOKS accepts unsigned requests: anyone can send any delivery.",
            hint="Set a secret for the hook in Perfsee and remove ALLOW_UNSIGNED.",
            id="perfsee_webhooks.W005",
        )
    elif not values["SECRETS"] and not has_secrets(values["HOOKS"]):
        yield Warning(
            "PERFSEE_WEBHOOKS has no secret, so that every delivery is refused, and lost.",
            hint='Set PERFSEE_WEBHOOKS = {"SECRETS": ["<the hook\'s secret in Perfsee>"]}.',
            id="perfsee_webhooks.W006",
        )


def _processing(processing: Any) -> Iterator[CheckMessage]:
    if processing == TASKS:
        yield from _task_engine()
    if processing in (INLINE, TASKS):
        return
    try:
        usable = callable(import_string(processing))
    except (ImportError, AttributeError, TypeError, ValueError):
        usable = False
    if not usable:
        yield Error(
            "PERFSEE_WEBHOOKS['PROCESSING'] is no way to process deliveries.",
            hint=f"Use {INLINE!r}, {TASKS!r}, or the dotted path of a function that takes the "
            "primary key of a delivery.",
            id="perfsee_webhooks.E007",
        )


def _task_engine() -> Iterator[CheckMessage]:
    try:
        backend = delivery_task().get_backend()
    except Exception as error:  # noqa: BLE001  # each engine raises its own
        yield Error(
            f"PERFSEE_WEBHOOKS hands deliveries to an engine that does not take them: {error}",
            hint="TASK_BACKEND names one of TASKS, and QUEUE one of that backend's QUEUES.",
            id="perfsee_webhooks.E009",
        )
        return
    if type(backend).__name__ in ("ImmediateBackend", "DummyBackend"):
        yield Warning(
            f"PERFSEE_WEBHOOKS hands deliveries to {type(backend).__name__}, which runs receivers "
            "in the process that serves the site, or not at all.",
            hint="Set a backend with a worker of its own in TASKS, or PROCESSING to 'inline'.",
            id="perfsee_webhooks.W008",
        )

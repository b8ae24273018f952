"""What the `PERFSEE_WEBHOOKS` setting can have wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches
from os import PathLike
from typing import Any, Final

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning  # noqa: A004  # Django's own name
from django.utils.module_loading import import_string

from ..conf import DEFAULTS, INLINE, TASKS
from ..tasks import delivery_task

SHORTEST_SAFE_SECRET: Final = 16


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


_DURATION: Final = _Rule(expected="a timedelta above zero", holds=_is_duration)
_DURATION_OR_NONE: Final = _Rule(
    expected="a timedelta above zero, or None", holds=lambda v: v is None or _is_duration(v)
)

_RULES: Final[Mapping[str, _Rule]] = {
    "ALLOW_UNSIGNED": _Rule(expected="True or False", holds=lambda v: isinstance(v, bool)),
    "MAX_BODY_BYTES": _Rule(expected="a number of bytes", holds=lambda v: _is_whole(v, 1)),
    "MAX_ATTEMPTS": _Rule(expected="a number of 1 or more", holds=lambda v: _is_whole(v, 1)),
    "KEEP_REJECTIONS": _Rule(expected="a number of rows", holds=lambda v: _is_whole(v, 0)),
    "BACKOFF": _DURATION,
    "LEASE": _DURATION,
    "KEEP_BODIES": _DURATION_OR_NONE,
    "KEEP_ROWS": _DURATION_OR_NONE,
    "TASK_BACKEND": _Rule(expected="the alias of a task backend", holds=_is_text),
    "QUEUE": _Rule(expected="the name of a queue", holds=_is_text),
    "SPOOL_DIR": _Rule(
        expected="the path of a folder, or None",
        holds=lambda v: v is None or isinstance(v, str | PathLike),
    ),
    "PERFSEE_URL": _Rule(
        expected="an address that begins with https:// or http://, or None",
        holds=lambda v: v is None or (_is_text(v) and v.startswith(("https://", "http://"))),
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
        *_secrets("SECRETS", values["SECRETS"]),
        *_hooks(values["HOOKS"]),
        *_nothing_to_verify_with(values),
        *_processing(values["PROCESSING"]),
    ]


def _without_effect(values: Mapping[str, Any]) -> Iterator[CheckMessage]:
    if values["SPOOL_DIR"] is not None and _RULES["SPOOL_DIR"].holds(values["SPOOL_DIR"]):
        yield Warning(
            "PERFSEE_WEBHOOKS['SPOOL_DIR'] has no effect in this version.",
            hint="Remove it: nothing is spooled yet.",
            id="perfsee_webhooks.W010",
        )


def _pruning(values: Mapping[str, Any]) -> Iterator[CheckMessage]:
    bodies, rows = values["KEEP_BODIES"], values["KEEP_ROWS"]
    if _is_duration(bodies) and _is_duration(rows) and rows < bodies:
        yield Warning(
            "PERFSEE_WEBHOOKS keeps bodies for longer than rows, which hold them.",
            hint="Let KEEP_ROWS be the longer one: a delivery id is known as long as its row is.",
            id="perfsee_webhooks.W011",
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


def _secrets(place: str, secrets: Any) -> Iterator[CheckMessage]:
    if not isinstance(secrets, list | tuple):
        yield Error(
            f"{place} of PERFSEE_WEBHOOKS is not a list of secrets.",
            hint='Write a list, the newest secret first: ["…"].',
            id="perfsee_webhooks.E003",
        )
        return
    for index, secret in enumerate(secrets):
        yield from _secret(f"{place}[{index}]", secret)


def _secret(place: str, secret: Any) -> Iterator[CheckMessage]:
    if not isinstance(secret, str) or not secret or not _is_encodable(secret):
        yield Error(
            f"{place} of PERFSEE_WEBHOOKS is empty or no text that UTF-8 can encode.",
            hint="Set it to the text of the hook's secret in Perfsee. It is never used as it is.",
            id="perfsee_webhooks.E003",
        )
    elif secret != secret.strip():
        yield Warning(
            f"{place} of PERFSEE_WEBHOOKS begins or ends with white space.",
            hint="Remove it, unless the secret in Perfsee has it too.",
            id="perfsee_webhooks.W001",
        )
    elif len(secret) < SHORTEST_SAFE_SECRET:
        yield Warning(
            f"{place} of PERFSEE_WEBHOOKS is shorter than {SHORTEST_SAFE_SECRET} characters.",
            hint="Who sees one signed delivery can guess a short secret. Set a long random one.",
            id="perfsee_webhooks.W002",
        )


def _is_encodable(secret: str) -> bool:
    try:
        secret.encode()
    except UnicodeEncodeError:
        return False
    return True


def _hooks(hooks: Any) -> Iterator[CheckMessage]:
    if not isinstance(hooks, Mapping):
        yield _malformed_hooks("HOOKS")
        return
    for hook_id, hook in hooks.items():
        place = f"HOOKS[{hook_id!r}]"
        if not isinstance(hook_id, str) or not _is_hook(hook):
            yield _malformed_hooks(place)
            continue
        yield from _secrets(f"{place}.SECRETS", hook.get("SECRETS", ()))
        if hook.get("PROJECTS") is not None and not hook.get("SECRETS"):
            yield Warning(
                f"{place} of PERFSEE_WEBHOOKS limits the PROJECTS, but has no SECRETS of its own.",
                hint="The hook id of a request is not signed: only a secret of its own binds a "
                "sender to the hook and its projects.",
                id="perfsee_webhooks.W003",
            )


def _is_hook(hook: Any) -> bool:
    if not isinstance(hook, Mapping) or not hook.keys() <= {"SECRETS", "PROJECTS"}:
        return False
    projects = hook.get("PROJECTS")
    return projects is None or (
        isinstance(projects, list | tuple) and all(isinstance(item, str) for item in projects)
    )


def _malformed_hooks(place: str) -> CheckMessage:
    return Error(
        f"{place} of PERFSEE_WEBHOOKS is not what it should be.",
        hint='Write {"<hook id>": {"SECRETS": ["…"], "PROJECTS": ["web-*"]}}, all of it text.',
        id="perfsee_webhooks.E004",
    )


def _nothing_to_verify_with(values: Mapping[str, Any]) -> Iterator[CheckMessage]:
    if values["ALLOW_UNSIGNED"] is True:
        yield Warning(
            "PERFSEE_WEBHOOKS accepts unsigned requests: anyone can send any delivery.",
            hint="Set a secret for the hook in Perfsee and remove ALLOW_UNSIGNED.",
            id="perfsee_webhooks.W005",
        )
    elif not values["SECRETS"] and not _has_secrets(values["HOOKS"]):
        yield Warning(
            "PERFSEE_WEBHOOKS has no secret, so that every delivery is refused, and lost.",
            hint='Set PERFSEE_WEBHOOKS = {"SECRETS": ["<the hook\'s secret in Perfsee>"]}.',
            id="perfsee_webhooks.W006",
        )


def _has_secrets(hooks: Any) -> bool:
    return isinstance(hooks, Mapping) and any(
        isinstance(hook, Mapping) and hook.get("SECRETS") for hook in hooks.values()
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

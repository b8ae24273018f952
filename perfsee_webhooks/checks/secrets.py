"""What the secrets and the hooks of `PERFSEE_WEBHOOKS` can have wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from django.core.checks import CheckMessage, Error, Warning  # noqa: A004  # Django's own name

from ..envelope import MAX_NAME_LENGTH
from ..text import is_encodable, one_line

SHORTEST_SAFE_SECRET: Final = 16

_PLACEHOLDER: Final = re.compile(
    r"(a|my|the|your|our|some)?(perfsee|webhook|hook|shared|super|top|very|long|random)*"
    r"(secret|secretkey|key|token|password|passwd|passphrase|value)(here|goeshere)?[0-9]{0,3}"
    r"|(please)?(change|replace|fill|set)(me|this|it)(in|now|please|later)*[0-9]{0,3}"
    r"|todo|tbd|none|null|undefined|example|placeholder|dummy|test|testing|(xxx)+|[0-9]|"
    r"0?123456789?0?|abc123|qwerty|perfsee"
)


def check_secrets(place: str, secrets: Any) -> Iterator[CheckMessage]:
    """Yield what is wrong with a list of secrets, which the messages never show."""
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
    if not isinstance(secret, str) or not secret or not is_encodable(secret):
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
    elif _is_placeholder(secret):
        yield Warning(
            f"{place} of PERFSEE_WEBHOOKS is a placeholder, which anybody can guess.",
            hint="Set it to the text of the hook's secret in Perfsee, a long random one.",
            id="perfsee_webhooks.W014",
        )
    elif len(secret) < SHORTEST_SAFE_SECRET:
        yield Warning(
            f"{place} of PERFSEE_WEBHOOKS is shorter than {SHORTEST_SAFE_SECRET} characters.",
            hint="Who sees one signed delivery can guess a short secret. Set a long random one.",
            id="perfsee_webhooks.W002",
        )


def _is_placeholder(secret: str) -> bool:
    """Say whether it is a word that stands for a secret, one character, or an unfilled template."""
    word = re.sub(r"[^0-9a-z]", "", secret.lower())
    is_template = (secret[0], secret[-1]) in {("<", ">"), ("{", "}"), ("[", "]")}
    is_template |= secret.startswith(("${", "$("))
    return bool(_PLACEHOLDER.fullmatch(word)) or is_template or len(set(secret)) == 1


def check_hooks(hooks: Any) -> Iterator[CheckMessage]:
    """Yield what is wrong with `HOOKS`."""
    if not isinstance(hooks, Mapping):
        yield _malformed_hooks("HOOKS")
        return
    for hook_id, hook in hooks.items():
        place = f"HOOKS[{hook_id!r}]"
        if not isinstance(hook_id, str) or not _is_hook(hook):
            yield _malformed_hooks(place)
            continue
        yield from check_secrets(f"{place}.SECRETS", hook.get("SECRETS", ()))
        yield from _hook_id(place, hook_id)
        yield from _projects(place, hook.get("PROJECTS"))
        if hook.get("PROJECTS") is not None and not hook.get("SECRETS"):
            yield Warning(
                f"{place} of PERFSEE_WEBHOOKS limits the PROJECTS, but has no SECRETS of its own.",
                hint="The hook id of a request is not signed: only a secret of its own binds a "
                "sender to the hook and its projects.",
                id="perfsee_webhooks.W003",
            )


def _hook_id(place: str, hook_id: str) -> Iterator[CheckMessage]:
    if not hook_id or hook_id != one_line(hook_id.strip(), MAX_NAME_LENGTH):
        yield Warning(
            f"{place} of PERFSEE_WEBHOOKS is for no hook: none has such an id.",
            hint="Copy the hook's id from Perfsee, without white space.",
            id="perfsee_webhooks.W015",
        )


def _projects(place: str, patterns: Sequence[str] | None) -> Iterator[CheckMessage]:
    if patterns is None:
        return
    if not patterns or any(not item or item != item.strip() for item in patterns):
        yield Warning(
            f"{place}.PROJECTS of PERFSEE_WEBHOOKS is empty, or has a pattern that is empty or "
            "begins or ends with white space: no project is called so, and what no pattern allows "
            "is refused.",
            hint='List the slugs of projects, or patterns of them: ["web-*"]; None for any.',
            id="perfsee_webhooks.W016",
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


def has_secrets(hooks: Any) -> bool:
    """Say whether a hook has a secret of its own."""
    return isinstance(hooks, Mapping) and any(
        isinstance(hook, Mapping) and hook.get("SECRETS") for hook in hooks.values()
    )

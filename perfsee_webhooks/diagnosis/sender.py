"""What the headers of a request say of whoever sent it, which nobody has signed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ..envelope import (
    DELIVERY_HEADER,
    EVENT_HEADER,
    HOOK_ID_HEADER,
    HOOK_PROJECT_HEADER,
    hook_id_in,
)
from ..text import one_line

_PERFSEE_AGENT: Final = "Perfsee-Hookshot/"
_PERFSEE_HEADERS: Final = (DELIVERY_HEADER, EVENT_HEADER, HOOK_ID_HEADER, HOOK_PROJECT_HEADER)
_PROXY_HEADERS: Final = ("Via", "Forwarded", "X-Forwarded-For")


def signs_of_perfsee(headers: Mapping[str, str]) -> str:
    """Say what in the headers points to Perfsee; empty text if nothing does."""
    agent = headers.get("User-Agent", "")
    named = [f"the User-Agent {one_line(agent, 40)}"] if agent.startswith(_PERFSEE_AGENT) else []
    return ", ".join([*named, *(name for name in _PERFSEE_HEADERS if name in headers)])


def proxies_in(headers: Mapping[str, str]) -> str:
    """Name the proxies that the headers tell of, as a sentence; empty text for none."""
    names = ", ".join(name for name in _PROXY_HEADERS if name in headers)
    return f" The request came by way of one, as its headers say ({names})." if names else ""


def hook_in(headers: Mapping[str, str]) -> str:
    """Name the hook that a request says it comes from."""
    hook_id = hook_id_in(headers)
    return f"the hook {hook_id!r}" if hook_id else "a request that names no hook"

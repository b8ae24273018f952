"""The ids that each record of the package's loggers carries, so that a log can be searched by them.

They are attributes of the record whose names begin with `perfsee_`. A record never has a secret, a
signature or a body.
"""

from __future__ import annotations

from typing import Final, Protocol

from .text import one_line

_MAX_LENGTH: Final = 300


class _Identified(Protocol):
    """A delivery, or a request that may have become one."""

    @property
    def delivery_id(self) -> str: ...
    @property
    def event_type(self) -> str: ...
    @property
    def project(self) -> str: ...
    @property
    def hook_id(self) -> str: ...


def ids(**named: object) -> dict[str, object]:
    """Return `extra` for a record: `ids(replay=7)` becomes `record.perfsee_replay`.

    Text becomes one line without control characters.
    """
    return {
        f"perfsee_{name}": one_line(value, _MAX_LENGTH) if isinstance(value, str) else value
        for name, value in named.items()
    }


def ids_of(delivery: _Identified, **named: object) -> dict[str, object]:
    """Return `extra` for a record about a delivery, and what else it is about."""
    return ids(
        delivery_id=delivery.delivery_id,
        event_type=delivery.event_type,
        project=delivery.project,
        hook_id=delivery.hook_id,
        **named,
    )

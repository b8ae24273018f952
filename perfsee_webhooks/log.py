"""The ids that each record of the package's loggers carries, so that a log can be searched by them.

They are attributes of the record whose names begin with `perfsee_`. A record never has a secret, a
signature or a body.
"""

from __future__ import annotations

import logging
import textwrap
import traceback
from typing import Final, Protocol

from .text import lines, one_line

_MAX_LENGTH: Final = 300
_MAX_TRACEBACK: Final = 20_000


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


def log_raised(
    logger: logging.Logger,
    level: int,
    message: str,
    *args: object,
    error: BaseException,
    extra: dict[str, object],
) -> None:
    """Log what a receiver raised, with a traceback of which no line can be taken for a record.

    A receiver may raise with text of a payload, which a stranger has written. `exc_info` has the
    exception as it is, for those who format it by themselves.
    """
    if logger.isEnabledFor(level):
        path, number, function, _stack = logger.findCaller(stacklevel=2)
        info = (type(error), error, error.__traceback__)
        record = logger.makeRecord(
            logger.name, level, path, number, message, args, info, function, extra
        )
        told = lines("".join(traceback.format_exception(error)), _MAX_TRACEBACK)
        record.exc_text = textwrap.indent(told.rstrip(), "  ")
        logger.handle(record)


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

"""What an examination has found."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from ..log import ids

logger = logging.getLogger(__name__)


class Level(StrEnum):
    """How bad it is; an error loses deliveries, or leaves them unprocessed."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What was examined, what was found, and what to do about it."""

    level: Level
    topic: str
    message: str
    advice: str = ""


def good(topic: str, message: str) -> Result:
    """Return that all is well."""
    return Result(level=Level.OK, topic=topic, message=message)


def doubtful(topic: str, message: str, advice: str) -> Result:
    """Return a warning."""
    return Result(level=Level.WARNING, topic=topic, message=message, advice=advice)


def bad(topic: str, message: str, advice: str) -> Result:
    """Return an error."""
    return Result(level=Level.ERROR, topic=topic, message=message, advice=advice)


def guarded(topic: str, examine: Callable[[], Result | Iterable[Result]]) -> Iterator[Result]:
    """Yield what an examination finds; that it could not be made is a finding as well.

    Settings that are wrong make anything raise, and are what a doctor is called for.
    """
    try:
        found = examine()
        yield from [found] if isinstance(found, Result) else found
    except Exception as error:
        logger.debug(
            "The examination of %s was broken off.", topic, exc_info=True, extra=ids(topic=topic)
        )
        yield bad(
            topic,
            f"It could not be examined: {type(error).__name__}: {error}",
            "Mend the settings first, if they are wrong; else see the log of this site.",
        )

"""What an examination has found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


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

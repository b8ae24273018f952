"""Durations and moments in words, for templates."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from django import template

register = template.Library()

_UNITS: Final = (
    ("day", timedelta(days=1)),
    ("hour", timedelta(hours=1)),
    ("minute", timedelta(minutes=1)),
)


@register.filter
def in_words(duration: timedelta) -> str:
    """Return a duration as one number of the largest unit of which it has at least two."""
    for unit, length in _UNITS:
        if duration >= 2 * length:
            return f"{duration // length} {unit}s"
    seconds = max(duration, timedelta(0)) // timedelta(seconds=1)
    return "1 second" if seconds == 1 else f"{seconds} seconds"


@register.filter
def ago(moment: datetime, now: datetime) -> str:
    """Return how long a moment is away, in the past or in the future."""
    if abs(now - moment) < timedelta(seconds=1):
        return "just now"
    return f"{in_words(now - moment)} ago" if moment < now else f"in {in_words(moment - now)}"


@register.filter
def milliseconds(duration: timedelta) -> float:
    """Return a duration in milliseconds."""
    return duration / timedelta(milliseconds=1)

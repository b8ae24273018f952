"""The moments that somebody can ask for."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from django.core.exceptions import ValidationError

EARLIEST_YEAR: Final = 2000
LATEST_YEAR: Final = 9998


def is_within_reach(moment: datetime) -> bool:
    """Say whether every database and every time zone can express a moment."""
    return EARLIEST_YEAR <= moment.year <= LATEST_YEAR


def require_within_reach(moment: datetime) -> None:
    """Refuse a moment that no delivery could be of. Raises Django's ValidationError."""
    if not is_within_reach(moment):
        raise ValidationError(f"A moment has to be in a year from {EARLIEST_YEAR} on.")

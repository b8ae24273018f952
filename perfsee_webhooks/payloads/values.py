"""Read one value of a payload: what is of another type than promised reads as None."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from math import isfinite
from typing import Any, Final, NoReturn

Raw = Mapping[str, Any]
"""An object as it was sent, parsed and otherwise untouched."""


class _Nothing(dict[str, Any]):
    """An empty dict that stays empty, since whatever is missing shares it."""

    def _refuse(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError("This object was not sent: nothing can be put into it.")

    __setitem__ = setdefault = update = __ior__ = _refuse


NOTHING: Final[Raw] = _Nothing()
"""The object that was not sent."""


def mapping(value: object) -> Raw:
    """Return an object; what is none reads as an empty one."""
    # Nearly always a dict, which is found out much more quickly than what any Mapping is.
    return value if isinstance(value, (dict, Mapping)) else NOTHING


def objects(value: object) -> list[Raw]:
    """Return the objects of a list, whatever else is in it left out."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def text(value: object) -> str | None:
    """Return text, or a whole number as text."""
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def first_text(raw: Raw, *keys: str) -> str | None:
    """Return the text of the first of these keys that holds any."""
    return next((found for key in keys if (found := text(raw.get(key))) is not None), None)


def integer(value: object) -> int | None:
    """Return a whole number."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def number(value: object) -> float | None:
    """Return a finite number, a whole one as an int."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return value if isfinite(value) else None
    except OverflowError:  # a whole number beyond every float
        return None


def flag(value: object) -> bool | None:
    """Return true or false."""
    return value if isinstance(value, bool) else None


def moment(value: object) -> datetime | None:
    """Return an ISO 8601 moment in UTC; one without a zone is read as UTC."""
    if not isinstance(value, str):
        return None
    try:
        read = datetime.fromisoformat(value)
        return (read if read.tzinfo else read.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None

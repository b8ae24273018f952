"""Read one object of a payload without ever stumbling over what is in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isfinite
from typing import Any, Self

Raw = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Record:
    """One object of a payload, with the mapping that it was read from."""

    raw: Raw

    def __bool__(self) -> bool:
        return bool(self.raw)

    @classmethod
    def read(cls, value: object) -> Self:
        """Return the record for any JSON value; one that is no object reads as an empty one."""
        return cls(value if isinstance(value, Mapping) else {})

    def text(self, *keys: str) -> str | None:
        """Return the first of these keys that holds text or an integer, as text."""
        for key in keys:
            value = self.raw.get(key)
            if isinstance(value, str):
                return value
            if isinstance(value, int) and not isinstance(value, bool):
                return str(value)
        return None

    def integer(self, key: str) -> int | None:
        """Return a whole number."""
        value = self.raw.get(key)
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    def number(self, key: str) -> int | float | None:
        """Return a finite number."""
        value = self.raw.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        try:
            return value if isfinite(value) else None
        except OverflowError:  # a whole number beyond every float
            return None

    def moment(self, key: str) -> datetime | None:
        """Return an ISO 8601 moment in UTC; one without a zone is read as UTC."""
        value = self.raw.get(key)
        if not isinstance(value, str):
            return None
        try:
            moment = datetime.fromisoformat(value)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
        except (ValueError, OverflowError):
            return None

    def records(self, key: str) -> list[Record]:
        """Return the objects of a list, whatever else is in it left out."""
        value = self.raw.get(key)
        items = value if isinstance(value, Sequence) else ()
        return [Record.read(item) for item in items if isinstance(item, Mapping)]

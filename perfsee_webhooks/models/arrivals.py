"""The arrivals of a delivery: once as new, and each time that it came again."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple, Self


class Arrival(NamedTuple):
    """One arrival: when, from which hook by its own unsigned word, and the secret that signed it.

    Repeats are kept as lines of a text, so that counting one stays a single UPDATE.
    """

    received_at: datetime
    hook_id: str
    verified_by: str

    @classmethod
    def read(cls, line: str) -> Self:
        """Return the arrival of a line that `line` has written."""
        moment, hook_id, verified_by = line.split("\t")
        return cls(datetime.fromisoformat(moment), hook_id, verified_by)

    @property
    def line(self) -> str:
        """The arrival as one line, with its end."""
        return f"{self.received_at.isoformat()}\t{self.hook_id}\t{self.verified_by}\n"

"""What is measured in another process and handed on as JSON: pages and indexes."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median


@dataclass(slots=True, kw_only=True)
class Page:
    """What was measured of one page on both databases: seconds, and what the larger one did."""

    name: str
    few: list[float] = field(default_factory=list)
    many: list[float] = field(default_factory=list)
    statements: int = 0
    slowest: str = ""
    plan: str = ""
    scanned: list[str] = field(default_factory=list)
    counts_everything: bool = False
    failed: str = ""

    @property
    def group(self) -> str:
        """What kind of page it is."""
        return self.name.partition(":")[0]

    @property
    def ratio(self) -> float:
        """How many times as long it takes with many rows."""
        return median(self.many) / median(self.few)


@dataclass(slots=True, kw_only=True)
class Index:
    """An index, and the seconds of the pages that it makes quicker, with it and without it."""

    name: str
    size_bytes: int
    is_unique: bool
    slower: dict[str, tuple[float, float]] = field(default_factory=dict)

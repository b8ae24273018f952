"""What a benchmark finds, as a ratio with its spread and its limit, and tables of such figures."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Final

_NUMBER: Final = re.compile(r"[≥≤]? ?[\d,.]+( (ms|s|MiB|B|%))?$")
_HEADINGS: Final = ("what", "median", "lowest", "highest", "limit", "holds", "note")


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A ratio of two measurements of one run: its median, and the lowest and highest of a round.

    A figure without a limit is there to be seen.
    """

    name: str
    ratio: float
    low: float
    high: float
    limit: float | None
    at_least: bool
    note: str = ""

    @property
    def holds(self) -> bool:
        """Whether the median keeps the limit."""
        if self.limit is None:
            return True
        return self.ratio >= self.limit if self.at_least else self.ratio <= self.limit

    @property
    def cells(self) -> tuple[str, ...]:
        """What stands in its row of a table."""
        numbers = (f"{number:.2f}" for number in (self.ratio, self.low, self.high))
        if self.limit is None:
            return (self.name, *numbers, "", "", self.note)
        limit = f"{'≥' if self.at_least else '≤'} {self.limit:g}"
        return (self.name, *numbers, limit, "yes" if self.holds else "NO", self.note)


def median_ratio(
    rounds_of_a: Sequence[float], rounds_of_b: Sequence[float]
) -> tuple[float, float, float]:
    """Return the median, the lowest and the highest of a/b, taken round by round.

    Raises:
        ValueError: there is no round, or one has more rounds than the other.
    """
    ratios = [a / b for a, b in zip(rounds_of_a, rounds_of_b, strict=True)]
    if not ratios:
        raise ValueError("There is no round to compare.")
    return median(ratios), min(ratios), max(ratios)


def figure(
    name: str,
    a: Sequence[float],
    b: Sequence[float],
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    note: str = "",
) -> Figure:
    """Return the figure of a/b over the rounds of both, with at most one of the two limits."""
    ratio, low, high = median_ratio(a, b)
    return Figure(
        name=name,
        ratio=ratio,
        low=low,
        high=high,
        limit=at_least if at_most is None else at_most,
        at_least=at_most is None,
        note=note,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Measurements that are no ratios, row by row under their headings."""

    title: str
    headings: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a part of the benchmarks found."""

    figures: Sequence[Figure]
    listings: Sequence[Listing] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    """What is shown as it is, such as plans of statements, by its title."""


def listing_of(figures: Iterable[Figure]) -> Listing:
    """Return the figures as the rows of a table."""
    return Listing(title="", headings=_HEADINGS, rows=[each.cells for each in figures])


def as_text(listing: Listing) -> str:
    """Return a table for a terminal."""
    rows = [listing.headings, *listing.rows]
    right = _of_numbers(listing)
    widths = [max(len(row[column]) for row in rows) for column in range(len(listing.headings))]
    return "".join(
        "  ".join(
            f"{cell:>{width}}" if is_number else f"{cell:<{width}}"
            for cell, width, is_number in zip(row, widths, right, strict=True)
        ).rstrip()
        + "\n"
        for row in rows
    )


def as_markdown(listing: Listing) -> str:
    """Return a table of Markdown."""
    rows = ["| " + " | ".join(listing.headings) + " |"]
    rows += ["|" + "|".join("--:" if number else "---" for number in _of_numbers(listing)) + "|"]
    rows += ["| " + " | ".join(_escaped(cell) for cell in row) + " |" for row in listing.rows]
    return "\n".join(rows) + "\n"


def _of_numbers(listing: Listing) -> list[bool]:
    """Say of each column whether it holds numbers, and stands to the right."""
    columns = [
        [row[column] for row in listing.rows if row[column]]
        for column in range(len(listing.headings))
    ]
    return [bool(cells) and all(map(_NUMBER.match, cells)) for cells in columns]


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|")


def print_report(report: Report) -> None:
    """Print the figures, and then the other tables; the texts are for a page."""
    print(as_text(listing_of(report.figures)), end="", flush=True)
    for listing in report.listings:
        print(f"\n{listing.title}\n\n{as_text(listing)}", end="", flush=True)

"""The one table that every part of the proof adds its rows to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_HEADINGS: Final = ("scenario", "tried", "lost", "wrong", "note")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What was tried how often, how much of it was lost, and how much else went wrong."""

    scenario: str
    tried: int
    lost: int
    wrong: int
    note: str = ""

    @property
    def holds(self) -> bool:
        """Whether it was tried at all, with nothing lost and nothing wrong."""
        return self.tried > 0 and not self.lost and not self.wrong


def table(rows: Sequence[Row]) -> str:
    """Return the rows as a table of text that is a table in Markdown too."""
    cells = [
        _HEADINGS,
        *(
            (row.scenario, f"{row.tried:,}", str(row.lost), str(row.wrong), row.note)
            for row in rows
        ),
    ]
    widths = [max(len(line[column]) for line in cells) for column in range(len(_HEADINGS))]
    lines = [_line(line, widths) for line in cells]
    rule = [
        f"{'-' * (width - 1)}:" if 0 < at < 4 else "-" * width for at, width in enumerate(widths)
    ]
    lines.insert(1, f"| {' | '.join(rule)} |")
    return "\n".join(lines)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    aligned = [
        cell.rjust(width) if 0 < column < 4 else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return f"| {' | '.join(aligned)} |"

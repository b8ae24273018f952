"""Puts the figures of a run into a page of the documentation: a table and a plot for each part."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from math import floor, log10
from pathlib import Path
from typing import Final

import django

from .table import Figure, Report, as_markdown, listing_of

_ROW: Final = 26
_WIDTH: Final = 960
_LEFT: Final = 470
_RIGHT: Final = 890
_TOP: Final = 30
_SMALLEST: Final = 0.01
_ROLE: Final = 'role="img" aria-labelledby="title" font-family="sans-serif" font-size="12"'
_STYLE: Final = """<style>
text { fill: #333 } .axis { stroke: #999; stroke-width: .5 } .limit { stroke: #c0392b }
.spread { stroke: #2980b9; stroke-width: 3 } .median { fill: #2980b9 } .limit { stroke-width: 2 }
@media (prefers-color-scheme: dark) {
text { fill: #ddd } .axis { stroke: #777 } .limit { stroke: #ff8a75 }
.spread { stroke: #6ab0de } .median { fill: #6ab0de }
}
</style>"""


def write_page(page: Path, part: str, title: str, report: Report, command: str) -> None:
    """Put the tables and a plot between the marks of a part, `<!-- part -->` and `<!-- /part -->`.

    Raises:
        ValueError: the page does not have them.
    """
    begin, end = f"<!-- {part} -->\n", f"<!-- /{part} -->\n"
    before, mark, rest = page.read_text().partition(begin)
    _old, other_mark, after = rest.partition(end)
    if not mark or not other_mark:
        raise ValueError(f"{page} has no marks {begin.strip()} and {end.strip()}.")
    plot = page.parent / "images" / f"speed-{part}.svg"
    plot.write_text(plotted(title, report.figures))
    arguments = f' ARGS="{command}"' if command else ""
    text = (
        f"{as_markdown(listing_of(report.figures))}\n"
        f"![{title}: ratios with their limits](images/{plot.name})\n\n"
        f"{_rest_of(report)}`make bench{arguments}` on {machine()}.\n"
    )
    page.write_text(before + begin + text + end + after)


def _rest_of(report: Report) -> str:
    """Return the other tables, and the texts, which a reader opens who wants to see them."""
    tables = (f"**{each.title}**\n\n{as_markdown(each)}\n" for each in report.listings)
    texts = (
        f"<details><summary>{escape(title)}</summary>\n\n```text\n{text}\n```\n\n</details>\n\n"
        for title, text in report.texts.items()
    )
    return "".join([*tables, *texts])


def machine() -> str:
    """Return what the run was on: the date, processors, memory, and versions."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{datetime.now(UTC):%-d %B %Y}, {os.cpu_count()} processors ({_processor()}), "
        f"{memory:.0f} GiB, Python {platform.python_version()}, Django {django.__version__}"
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def plotted(title: str, figures: Sequence[Figure]) -> str:
    """Return a plot as SVG: for each figure the median, its spread, and its limit, to a log scale.

    Its colours fit a light and a dark page.
    """
    shown = [each for each in figures if each.ratio > 0]
    numbers = [_SMALLEST, *(n for each in shown for n in (each.low, each.high, each.limit) if n)]
    least = floor(log10(min(max(n, _SMALLEST) for n in numbers[1:] or [1])))
    most = -floor(-log10(max(*numbers, 1.01)))
    height = _TOP + _ROW * len(shown) + 30

    def x(number: float) -> float:
        place = (log10(max(number, _SMALLEST)) - least) / (most - least)
        return _LEFT + place * (_RIGHT - _LEFT)

    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" {_ROLE}>',
        f'<title id="title">{escape(title)}</title>',
        _STYLE,
    ]
    for power in range(least, most + 1):
        at = x(10**power)
        lines.append(f'<path class="axis" d="M{at:.1f},20 V{height - 20}"/>')
        lines.append(
            f'<text x="{at:.1f}" y="{height - 5}" text-anchor="middle">{10**power:g}</text>'
        )
    for index, each in enumerate(shown):
        y = _TOP + _ROW * index + _ROW // 2
        lines.append(
            f'<text x="{_LEFT - 10}" y="{y + 4}" text-anchor="end">{escape(each.name)}</text>'
        )
        lines.append(f'<path class="spread" d="M{x(each.low):.1f},{y} H{x(each.high):.1f}"/>')
        lines.append(f'<circle class="median" cx="{x(each.ratio):.1f}" cy="{y}" r="5"/>')
        if each.limit:
            lines.append(f'<path class="limit" d="M{x(each.limit):.1f},{y - 9} v18"/>')
        lines.append(f'<text x="{_RIGHT + 10}" y="{y + 4}">{each.ratio:.2f}</text>')
    return "\n".join([*lines, "</svg>", ""])

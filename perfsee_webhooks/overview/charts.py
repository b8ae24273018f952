"""The geometry of a stacked bar chart as plain data, for a template that draws it as SVG.

Across, all is in percent of the width, so that bars grow with the page while its text does not;
upwards in pixels. Each measure is text, since a template would write a number as its language has
it, and SVG knows points only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

PLOT_HEIGHT: Final = 160
TOP: Final = 16  # room for the label of the highest line, and for bars that are lifted
_BAR_SHARE: Final = 0.78
_MIN_SEGMENT_HEIGHT: Final = 2.0  # one failure among thousands must not vanish
_MAX_LINES: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """What one bar is to show: layers by name, each with its count, from the bottom to the top."""

    title: str
    tick: str
    counts: Sequence[tuple[str, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """The part of a bar that belongs to one layer."""

    layer: str
    y: str
    height: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A bar, and the slot around it, which is as wide as its share of the whole width."""

    title: str
    tick: str
    x: str
    width: str
    slot_x: str
    slot_width: str
    middle: str
    segments: Sequence[Segment]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line across the chart at a round number."""

    label: int
    y: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A chart of bars; `baseline` is where they stand."""

    bars: Sequence[Bar]
    lines: Sequence[Line]
    baseline: str


def stacked(stacks: Sequence[Stack]) -> Chart:
    """Return the chart of these stacks, from left to right."""
    highest = max((sum(count for _layer, count in stack.counts) for stack in stacks), default=0)
    step = _step(highest)
    top = max(-(-highest // step), 1) * step
    slot = 100 / max(len(stacks), 1)
    return Chart(
        bars=[_bar(stack, index * slot, slot, top) for index, stack in enumerate(stacks)],
        lines=[Line(label=value, y=_pixels(_y(value / top))) for value in range(0, top + 1, step)],
        baseline=_pixels(_y(0)),
    )


def _step(highest: int) -> int:
    """Return the smallest of 1, 2, 5, 10, 20 … that takes few lines to reach the highest bar."""
    power = 1
    while True:
        for factor in (1, 2, 5):
            if highest <= _MAX_LINES * factor * power:
                return factor * power
        power *= 10


def _bar(stack: Stack, left: float, slot: float, top: int) -> Bar:
    segments, y = [], _y(0)
    for layer, count in stack.counts:
        if count:
            height = max(count / top * PLOT_HEIGHT, _MIN_SEGMENT_HEIGHT)
            y -= height
            segments.append(Segment(layer=layer, y=_pixels(y), height=_pixels(height)))
    return Bar(
        title=stack.title,
        tick=stack.tick,
        x=_percent(left + slot * (1 - _BAR_SHARE) / 2),
        width=_percent(slot * _BAR_SHARE),
        slot_x=_percent(left),
        slot_width=_percent(slot),
        middle=_percent(left + slot / 2),
        segments=segments,
    )


def _y(share: float) -> float:
    return TOP + PLOT_HEIGHT * (1 - share)


def _pixels(value: float) -> str:
    return f"{value:.2f}"


def _percent(value: float) -> str:
    return f"{value:.3f}%"

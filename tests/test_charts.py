from itertools import pairwise

import pytest

from perfsee_webhooks.overview.charts import PLOT_HEIGHT, TOP, Stack, stacked

BASELINE = TOP + PLOT_HEIGHT


def stack(*counts, tick=""):
    layers = [(name, count) for name, count in zip("abc", counts, strict=False)]
    return Stack(title="title", tick=tick, counts=layers)


def percent(text):
    assert text.endswith("%")
    return float(text[:-1])


def test_chart__stacks_from_the_bottom():
    chart = stacked([stack(4, 0, 2), stack(8)])
    first, second = chart.bars
    assert [(part.layer, float(part.height)) for part in first.segments] == [("a", 80), ("c", 40)]
    assert [float(part.y) for part in first.segments] == [BASELINE - 80, BASELINE - 120]
    assert [(float(part.y), float(part.height)) for part in second.segments] == [(TOP, 160)]
    assert float(chart.baseline) == BASELINE


def test_chart__shares_the_width_evenly():
    bars = stacked([stack(1, tick=str(number)) for number in range(24)]).bars
    assert [bar.tick for bar in bars] == [str(number) for number in range(24)]
    assert percent(bars[0].slot_x) == 0
    assert percent(bars[-1].slot_x) + percent(bars[-1].slot_width) == pytest.approx(100, abs=0.01)
    for left, right in pairwise(bars):
        assert percent(left.slot_x) < percent(left.x) < percent(left.middle)
        assert percent(left.x) + percent(left.width) < percent(right.slot_x) + 0.001
        assert percent(left.middle) == pytest.approx(
            percent(left.x) + percent(left.width) / 2, abs=0.002
        )


@pytest.mark.parametrize(
    ("highest", "labels"),
    [
        (0, [0, 1]),
        (1, [0, 1]),
        (4, [0, 1, 2, 3, 4]),
        (5, [0, 2, 4, 6]),
        (9, [0, 5, 10]),
        (21, [0, 10, 20, 30]),
        (100, [0, 50, 100]),
        (12_345, [0, 5_000, 10_000, 15_000]),
    ],
)
def test_lines__are_few_and_round_and_reach_the_highest_bar(highest, labels):
    chart = stacked([stack(highest), stack(0)])
    assert [line.label for line in chart.lines] == labels
    assert (chart.lines[0].y, float(chart.lines[-1].y)) == (chart.baseline, TOP)
    for part in chart.bars[0].segments:
        assert float(part.y) >= TOP


def test_bar__shows_one_among_thousands():
    segments = stacked([stack(10_000, 1)]).bars[0].segments
    assert float(segments[1].height) == 2
    assert float(segments[1].y) + 2 == float(segments[0].y) >= 2


def test_bar__of_nothing_has_no_segments():
    assert stacked([stack(0, 0)]).bars[0].segments == []
    assert stacked([]).bars == []

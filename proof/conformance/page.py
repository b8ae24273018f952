"""Writes `docs/conformance.md`: what the scenarios ask for, and the matrix of a run."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from inspect import getdoc
from pathlib import Path
from typing import Final

from .flaws import FLAWS
from .scenarios import SCENARIOS

PAGE: Final = Path(__file__).parents[2] / "docs" / "conformance.md"

_CAUGHT: Final = "●"
_STOOD: Final = "·"
_GRID: Final = re.compile(rf"^(\w+) +([{_CAUGHT}{_STOOD}]+)$", re.MULTILINE)

_TEXT: Final = """\
<!-- Written by `python -m proof.conformance --write`: edit proof/conformance/page.py. -->

# Conformance

What a receiver of Perfsee's webhooks has to stand, as scenarios that run against any receiver over
HTTP. They run against this app, against a small honest receiver of 300 lines, and against receivers
that are this small one with one deliberate flaw each. The app and the honest one stand every
scenario, and every flaw is caught by one or more: so it is the flaw that a scenario finds, and a
scenario that finds nothing would be seen.

## Run it

From a clone, as a part of `make proof` or by itself. It starts a PostgreSQL of its own, and ends
with status 1 if a scenario fails, a flaw is not caught, or the matrix below is out of date:

```console
python -m proof.conformance
```

Against a receiver of your own, with each secret that is valid, the newest first:

```console
python -m proof.conformance --url http://127.0.0.1:8000/hook/ --secret a-secret-long-enough
```

That sends it some two hundred requests, and judges the answers: these are the scenarios that need
nothing but HTTP. What the receiver keeps, and how often it does what is to be done, cannot be seen
from outside. For that, and for the scenarios that kill it and take its database away, write a class
like `SmallProcess` in `proof/conformance/process.py`.

## The scenarios

A 2xx means that the exact bytes are kept. A refusal is a 4xx: an answer, and no error. In each
scenario two things are to be done for a delivery, of which one fails, waits, or ends the process
where the scenario is about that.

{scenarios}

## The flaws

{flaws}

## The matrix

{caught} marks a scenario that the receiver does not stand.

```text
{grid}
```

No scenario cuts the power, fills the disk, or makes the clock jump. Where a flaw is a race,
there is a pause in it, so that it is found each time.
"""


def page(caught: Mapping[str, Sequence[str]]) -> str:
    """Return the text of the page for the scenarios that each receiver of a run does not stand."""
    return _TEXT.format(
        scenarios=_scenarios(caught), flaws=_flaws(caught), grid=_grid(caught), caught=_CAUGHT
    )


def caught_on(text: str) -> dict[str, list[str]]:
    """Return what the matrix of a page says: the scenarios that each receiver does not stand."""
    return {
        receiver: [
            scenario.name
            for scenario, mark in zip(SCENARIOS, marks, strict=True)
            if mark == _CAUGHT
        ]
        for receiver, marks in _GRID.findall(text)
    }


def _scenarios(caught: Mapping[str, Sequence[str]]) -> str:
    rows = [
        f"| {number} | {scenario.name} | {scenario.asks} "
        f"| {'more' if scenario.at_hand else 'HTTP'} "
        f"| {sum(scenario.name in names for names in caught.values())} |"
        for number, scenario in enumerate(SCENARIOS, 1)
    ]
    return "\n".join(
        ["| | scenario | what it asks for | needs | flaws caught |", "|--:|---|---|---|--:|", *rows]
    )


def _flaws(caught: Mapping[str, Sequence[str]]) -> str:
    rows = [
        f"| `{name}` | {(getdoc(flaw) or '').replace(chr(10), ' ')} | {_first(caught[name])} |"
        for name, flaw in FLAWS.items()
    ]
    return "\n".join(["| flaw | why people write it so | caught by |", "|---|---|---|", *rows])


def _first(names: Sequence[str]) -> str:
    more = f", and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{names[0]}{more}" if names else "nothing"


def _grid(caught: Mapping[str, Sequence[str]]) -> str:
    numbers = [f"{number:2}" for number in range(1, len(SCENARIOS) + 1)]
    width = max(len(name) for name in FLAWS)
    lines = [
        "".join(number[at] for number in numbers).rjust(width + 1 + len(numbers)) for at in (0, 1)
    ]
    for name, names in caught.items():
        marks = [_CAUGHT if one.name in names else _STOOD for one in SCENARIOS]
        lines.append(f"{name:<{width}} {''.join(marks)}")
    return "\n".join(lines)

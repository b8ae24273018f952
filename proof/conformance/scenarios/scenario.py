"""What makes a function a scenario."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from inspect import getdoc

from ..trial import Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A scenario; one that is `at_hand` needs more of a receiver than its address."""

    name: str
    asks: str
    run: Callable[[Trial], None]
    at_hand: bool


def scenario(run: Callable[[Trial], None]) -> Scenario:
    """Make a scenario that needs nothing but HTTP; more is looked at where it can be seen."""
    return _scenario(run, at_hand=False)


def scenario_at_hand(run: Callable[[Trial], None]) -> Scenario:
    """Make a scenario of a receiver that can be looked into, killed and cut off."""
    return _scenario(run, at_hand=True)


def _scenario(run: Callable[[Trial], None], *, at_hand: bool) -> Scenario:
    asks = (getdoc(run) or "").partition("\n\n")[0].replace("\n", " ")
    return Scenario(name=run.__name__.replace("_", " "), asks=asks, run=run, at_hand=at_hand)

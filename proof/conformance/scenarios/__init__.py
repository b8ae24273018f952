"""The scenarios, a module for each theme; this one knows them all.

A scenario is a function of a `Trial`. Its docstring says what the contract asks for, its first line
in one sentence. Each uses delivery ids of its own, so that one running receiver serves all.
"""

from __future__ import annotations

from . import addresses, bodies, clients, deliveries, failures, headers, signatures
from .scenario import Scenario

SCENARIOS: tuple[Scenario, ...] = tuple(
    value
    for module in (deliveries, signatures, headers, bodies, addresses, clients, failures)
    for value in vars(module).values()
    if isinstance(value, Scenario)
)

__all__ = ["SCENARIOS", "Scenario"]

"""What differs between two JSON values, place by place.

The values may hold anything and be nested to any depth: nothing here recurses or raises.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Context, Decimal
from enum import Enum, StrEnum
from itertools import zip_longest
from math import isfinite
from typing import Any, Final

from .text import pretty_json

_PLAIN_KEY: Final = re.compile(r"[A-Za-z_$][A-Za-z0-9_$-]*")
_DIGITS_OF_A_DIFFERENCE: Final = 28


class _Absent(Enum):
    ABSENT = "absent"


ABSENT: Final = _Absent.ABSENT


class Change(StrEnum):
    """What became of a place; an item is reordered if its list has it elsewhere in the row."""

    CHANGED = "changed"
    ADDED = "added"
    REMOVED = "removed"
    REORDERED = "reordered"


@dataclass(frozen=True, slots=True)
class ItemId:
    """The step to the item of a list that has this `id`."""

    value: str | int


Step = str | int | ItemId


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """Where in a value something is: a step from the place around it, or the value itself."""

    around: Place | None = None
    step: Step = ""

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps to it: keys of objects, positions in lists, ids of items."""
        steps: list[Step] = []
        place = self
        while place.around is not None:
            steps.append(place.step)
            place = place.around
        return tuple(reversed(steps))

    def __str__(self) -> str:
        return "".join(map(_written, self.steps)).removeprefix(".") or "$"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One place at which two values differ; `ABSENT` stands for nothing at all, unlike null.

    Of a reordered list `before` and `after` are the ids of the items that both have.
    """

    change: Change
    place: Place
    before: Any
    after: Any

    @property
    def by(self) -> str:
        """How much a number rose or fell, such as `+3`; empty if it is not of two numbers."""
        before, after = _number(self.before), _number(self.after)
        if before is None or after is None:
            return ""
        difference = Context(prec=_DIGITS_OF_A_DIFFERENCE).subtract(after, before)
        return f"{difference:+}" if difference else ""


def differences(before: Any, after: Any) -> Iterator[Difference]:
    """Yield where two values differ, in the order in which they are written.

    The items of a list are matched by their `id` if each has one of its own, else by position.
    The order of an object's members says nothing, that of a list does. Numbers are the same if
    they are written alike: 1 is not 1.0.
    """
    left = [(Place(), before, after)]
    while left:
        place, old, new = left.pop()
        if isinstance(old, dict) and isinstance(new, dict):
            inner = [(key, old.get(key, ABSENT), new.get(key, ABSENT)) for key in {**old, **new}]
        elif isinstance(old, list) and isinstance(new, list):
            old_ids, new_ids = _order(old, new)
            if old_ids != new_ids:
                yield Difference(
                    change=Change.REORDERED, place=place, before=old_ids, after=new_ids
                )
            inner = list(_paired(old, new))
        else:
            inner = []
            change = _change(old, new)
            if change:
                yield Difference(change=change, place=place, before=old, after=new)
        left += ((Place(place, step), *values) for step, *values in reversed(inner))


def _change(old: Any, new: Any) -> Change | None:
    if old is ABSENT:
        return Change.ADDED
    if new is ABSENT:
        return Change.REMOVED
    return None if type(old) is type(new) and _written_alike(old, new) else Change.CHANGED


def _written_alike(old: Any, new: Any) -> bool:
    return repr(old) == repr(new) if isinstance(old, float) else bool(old == new)


def _paired(old: list[Any], new: list[Any]) -> Iterator[tuple[Step, Any, Any]]:
    by_id, new_by_id = _by_id(old), _by_id(new)
    if by_id is None or new_by_id is None:
        for position, (one, other) in enumerate(zip_longest(old, new, fillvalue=ABSENT)):
            yield position, one, other
        return
    for item in {**by_id, **new_by_id}:
        yield item, by_id.get(item, ABSENT), new_by_id.get(item, ABSENT)


def _order(old: list[Any], new: list[Any]) -> tuple[list[str | int], list[str | int]]:
    """Return the ids that both lists have, in the order of each."""
    by_id, new_by_id = _by_id(old) or {}, _by_id(new) or {}
    return (
        [item.value for item in by_id if item in new_by_id],
        [item.value for item in new_by_id if item in by_id],
    )


def _by_id(items: list[Any]) -> dict[ItemId, Any] | None:
    """Return the items by their ids; None unless each has one of its own."""
    by_id = {}
    for item in items:
        value = item.get("id") if isinstance(item, dict) else None
        if not isinstance(value, str | int) or isinstance(value, bool):
            return None
        by_id[ItemId(value)] = item
    return by_id if len(by_id) == len(items) else None


def _number(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, int):
        return Decimal(value)
    return Decimal(repr(value)) if isfinite(value) else None


def _written(step: Step) -> str:
    match step:
        case ItemId():
            return f"[id={pretty_json(step.value)}]"
        case int():
            return f"[{step}]"
        case _:
            return f".{step}" if _PLAIN_KEY.fullmatch(step) else f"[{pretty_json(step)}]"

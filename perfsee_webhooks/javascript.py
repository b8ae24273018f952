"""JSON as JavaScript's `JSON.stringify` writes it, which is how Perfsee writes its bodies."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from math import inf, isfinite
from typing import Any, Final

_LARGEST_EXACT: Final = 2**53
_MAX_POINT: Final = 21
_MIN_POINT: Final = -6
_SURROGATE = re.compile("[\ud800-\udfff]")
_INDEX = re.compile(r"0|[1-9][0-9]{0,9}")
_MAX_INDEX: Final = 2**32 - 2


def stringify(value: Any) -> str:
    """Return a JSON value as JavaScript would write it after it had read it.

    Raises:
        RecursionError: the value is nested too deeply.
    """
    if isinstance(value, str):
        written = json.dumps(value, ensure_ascii=False)
        return _SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", written)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _number(value)
    if isinstance(value, Mapping):
        pairs = (f"{stringify(key)}:{stringify(value[key])}" for key in _in_order(value))
        return "{" + ",".join(pairs) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(stringify, value)) + "]"
    return json.dumps(value)  # true, false, null


def _in_order(value: Mapping[str, Any]) -> list[str]:
    """Return the keys in JavaScript's order: those that are an index first, by their number."""
    indexes = {key for key in value if _INDEX.fullmatch(key) and int(key) <= _MAX_INDEX}
    return [*sorted(indexes, key=int), *(key for key in value if key not in indexes)]


def _number(value: float) -> str:
    if isinstance(value, int) and abs(value) <= _LARGEST_EXACT:
        return str(value)
    try:
        number = float(value)
    except OverflowError:
        number = inf
    if not isfinite(number):
        return "null"
    _sign, digits, exponent = Decimal(repr(number)).normalize().as_tuple()
    written = _written("".join(map(str, digits)), int(exponent)) if number else "0"
    return f"-{written}" if number < 0 else written


def _written(digits: str, exponent: int) -> str:
    """Return digits times a power of ten, by JavaScript's rule of when it writes an exponent."""
    point = len(digits) + exponent
    if len(digits) <= point <= _MAX_POINT:
        return digits.ljust(point, "0")
    if 0 < point <= _MAX_POINT:
        return f"{digits[:point]}.{digits[point:]}"
    if _MIN_POINT < point <= 0:
        return f"0.{'0' * -point}{digits}"
    fraction = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{digits[0]}{fraction}e{point - 1:+d}"

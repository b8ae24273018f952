"""Small receivers with one deliberate flaw each, and why people write it so.

`python -m proof.conformance.flaws <name> <folder>` serves one of them.
"""

from __future__ import annotations

from types import ModuleType
from typing import Final

from ..small import SmallReceiver
from . import reading, signing, storing, working


def _in(module: ModuleType) -> dict[str, type[SmallReceiver]]:
    return {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, type) and value.__module__ == module.__name__
    }


FLAWS: Final = _in(signing) | _in(storing) | _in(reading) | _in(working)
HONEST: Final = SmallReceiver.__name__

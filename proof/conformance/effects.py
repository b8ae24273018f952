"""What a receiver under test does with a delivery, and how that goes wrong on demand.

The id of a delivery says how: `failing-…` fails at its first attempt. So one running receiver
serves every scenario. Nothing but the standard library is imported, since each small receiver is a
process that loads this.
"""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path
from typing import Final

# In the order in which they are done. Only the first one is ever in a mood.
MOODY: Final = "moody"
STEADY: Final = "steady"
EFFECTS: Final = (MOODY, STEADY)

PLAIN: Final = "plain"
SLOW: Final = "slow"
FAILING: Final = "failing"
BROKEN: Final = "broken"
EXITING: Final = "exiting"

# How long a slow effect waits to be let go.
SLOW_SECONDS: Final = 1.5


class EffectFailed(Exception):
    """An effect that was told to fail."""


def be_moody(effect: str, delivery_id: str, folder: Path) -> None:
    """Do what the id asks for: wait, fail, or end the process.

    Raises:
        EffectFailed: the id asks for a failure.
    """
    mood = delivery_id.partition("-")[0] if effect == MOODY else PLAIN
    if mood == SLOW:
        _wait_to_be_let_go(_mark(folder, delivery_id))
    elif mood == BROKEN or (mood == FAILING and _is_first_attempt(folder, delivery_id)):
        raise EffectFailed(f"{effect} fails on {delivery_id}.")
    elif mood == EXITING and _is_first_attempt(folder, delivery_id):
        os._exit(1)


def let_go(delivery_id: str, folder: Path) -> None:
    """End the wait of a slow effect."""
    _mark(folder, delivery_id).touch()


def _wait_to_be_let_go(mark: Path) -> None:
    deadline = time.monotonic() + SLOW_SECONDS
    while not mark.exists() and time.monotonic() < deadline:
        time.sleep(0.01)


def _is_first_attempt(folder: Path, delivery_id: str) -> bool:
    try:
        _mark(folder, delivery_id).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def _mark(folder: Path, delivery_id: str) -> Path:
    return folder / f"{hashlib.sha256(delivery_id.encode()).hexdigest()}.mark"

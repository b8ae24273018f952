"""Fuzzing as a part of the proof: Django is set up first, and only then is the rest imported."""

from __future__ import annotations

import os
import secrets
from typing import Final

import django

from proof.table import Row

MINUTES: Final = 10.0


def run(*, minutes: float = MINUTES, seed: int | None = None) -> list[Row]:
    """Fuzz for some minutes in all, print what was tried and found, and return the rows."""
    set_up()
    from . import running  # noqa: PLC0415  # see above

    known = secrets.randbits(32) if seed is None else seed
    print(f"seed {known}", flush=True)
    return running.run(seconds=minutes * 60, seed=known)


def run_again(seed: str) -> bool:
    """Try one input in process by its seed, print what is found, and say whether it is nothing."""
    set_up()
    from . import in_process  # noqa: PLC0415  # see above
    from .findings import Tally  # noqa: PLC0415  # see above

    tally = Tally()
    in_process.try_one(tally, seed)
    print(tally.report())
    return not tally.found


def set_up() -> None:
    """Set Django up for the example site, whose own database is never opened."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.settings")
    django.setup()

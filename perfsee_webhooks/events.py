"""The names of Perfsee's events, and the grammar in which a hook and a receiver choose them."""

from __future__ import annotations

import re
from typing import Final

BUNDLE_FINISHED: Final = "bundle:finished"
LAB_SNAPSHOT_COMPLETED: Final = "lab:snapshot-completed"
LAB_SNAPSHOT_REPORT_COMPLETED: Final = "lab:snapshot-report-completed"
SOURCE_FINISHED: Final = "source:finished"

KNOWN: Final = (
    BUNDLE_FINISHED,
    LAB_SNAPSHOT_COMPLETED,
    LAB_SNAPSHOT_REPORT_COMPLETED,
    SOURCE_FINISHED,
)

# The event type of a signed body that names none, or that could not be read at all.
UNKNOWN: Final = "unknown"

# The time to match grows with the length of a name to the power of this.
_MOST_STARS: Final = 3


def dashed(name: str) -> str:
    """Return an event's name as Perfsee's page writes it, with `-` where its server sends `:`."""
    return name.replace(":", "-")


_KNOWN_BY_DASHED_NAME: Final = {dashed(name): name for name in KNOWN}


def canonical(name: str) -> str:
    """Return a known event's name as Perfsee's server writes it, any other name unchanged."""
    return _KNOWN_BY_DASHED_NAME.get(dashed(name), name)


def compiled(pattern: str) -> re.Pattern[str]:
    """Return a pattern of events as a regular expression, to be matched in full.

    The grammar is that of a hook's event field in Perfsee: names separated by commas, white space
    around them ignored, in which `*` stands for any characters.

    Raises:
        ValueError: the pattern names no event at all, or has so many `*` in a name that it would
            take long to match.
    """
    return re.compile("|".join(alternatives(pattern)), re.DOTALL)


def alternatives(pattern: str) -> list[str]:
    """Return a regular expression for each name in a pattern. Raises ValueError as `compiled`."""
    names = [canonical(name.strip()) for name in pattern.split(",") if name.strip()]
    if not names:
        raise ValueError(f"{pattern!r} names no event: write for instance 'bundle:*,lab:*'.")
    written = [re.sub(r"(\\\*)+", ".*", re.escape(name)) for name in names]
    if any(alternative.count(".*") > _MOST_STARS for alternative in written):
        raise ValueError(f"{pattern!r} has more than {_MOST_STARS} times '*' in one name.")
    return written

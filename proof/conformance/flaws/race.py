"""How long a race lasts, so that it is found each time and not now and then."""

from __future__ import annotations

from typing import Final

RACE_SECONDS: Final = 0.05

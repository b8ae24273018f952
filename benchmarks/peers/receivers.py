"""What is done, or not done, about a delivery."""

from __future__ import annotations

import time
from typing import Any, Final

SLEEP_SECONDS: Final = 1


def leave_alone(primary_key: int) -> None:
    """Do nothing about a delivery."""


def leave_event_alone(trigger: object, **kwargs: Any) -> None:
    """Do nothing about an event of Stripe."""


def sleep(**kwargs: Any) -> None:
    """Be slow."""
    time.sleep(SLEEP_SECONDS)

"""What was found out about a refused request."""

from __future__ import annotations

from dataclasses import dataclass

from ..models import Delivery


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was found out: what it is, what to do, and where it is not sure, the causes.

    The causes are the likely ones, the likeliest first. `is_good` says that nothing is left to
    do; `delivery` is the one to look at.
    """

    what: str
    advice: str = ""
    causes: tuple[str, ...] = ()
    is_good: bool = False
    delivery: Delivery | None = None

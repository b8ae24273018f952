"""How regularly deliveries come, so that a page can tell that they have stopped coming.

Perfsee never sends twice and never says that it gave up: a hook that has gone silent is the only
sign of one that was switched off, or that no longer reaches the site.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import Final

SHORTEST_SILENCE: Final = timedelta(hours=1)
TIMES_THE_LONGEST_PAUSE: Final = 1.5
MIN_ARRIVALS: Final = 5
MIN_DAYS: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrivals:
    """Deliveries that came on one day, about one project, from one hook, and are in one state."""

    project: str
    hook_id: str
    state: str
    day: date
    number: int
    first_at: datetime
    last_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Rhythm:
    """How often a hook sends something about a project, and for how long it has not.

    `longest_pause` is the longest one that is known: between the last delivery of a day and the
    first of the next day that had any, or on average within a day; None if there was one delivery.
    """

    project: str
    hook_id: str
    arrivals: int
    days: int
    last_at: datetime
    silence: timedelta
    longest_pause: timedelta | None

    @property
    def is_judged(self) -> bool:
        """Whether enough is known of it to tell a silence from a pause."""
        return self.arrivals >= MIN_ARRIVALS and self.days >= MIN_DAYS

    @property
    def is_silent(self) -> bool:
        """Whether nothing came for much longer than ever before."""
        if not self.is_judged or self.longest_pause is None:
            return False
        longest = max(SHORTEST_SILENCE, self.longest_pause * TIMES_THE_LONGEST_PAUSE)
        return self.silence > longest

    @property
    def _order(self) -> tuple[float, str, str]:
        """Silent ones first, the longest silence first of all; then those heard of last."""
        silence = self.silence.total_seconds()
        return -silence if self.is_silent else silence, self.project, self.hook_id


def rhythms(arrivals: Iterable[Arrivals], now: datetime) -> list[Rhythm]:
    """Return the rhythm of each pair of project and hook, the most notable ones first."""
    of_pair: dict[tuple[str, str], list[Arrivals]] = defaultdict(list)
    for item in arrivals:
        of_pair[item.project, item.hook_id].append(item)
    return sorted(
        (_rhythm(project, hook_id, items, now) for (project, hook_id), items in of_pair.items()),
        key=lambda rhythm: rhythm._order,
    )


def _rhythm(project: str, hook_id: str, arrivals: list[Arrivals], now: datetime) -> Rhythm:
    of_day: dict[date, list[Arrivals]] = defaultdict(list)
    for item in arrivals:
        of_day[item.day].append(item)
    days = [_Day.of(items) for _day, items in sorted(of_day.items())]
    pauses = [later.first_at - earlier.last_at for earlier, later in pairwise(days)]
    pauses += [day.mean_gap for day in days if day.number > 1]
    last_at = days[-1].last_at
    return Rhythm(
        project=project,
        hook_id=hook_id,
        arrivals=sum(day.number for day in days),
        days=len(days),
        last_at=last_at,
        silence=max(now - last_at, timedelta(0)),  # the clock of another machine may be ahead
        longest_pause=max(pauses, default=None),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Day:
    """The arrivals of one day, whatever became of them."""

    number: int
    first_at: datetime
    last_at: datetime

    @classmethod
    def of(cls, arrivals: list[Arrivals]) -> _Day:
        return cls(
            number=sum(item.number for item in arrivals),
            first_at=min(item.first_at for item in arrivals),
            last_at=max(item.last_at for item in arrivals),
        )

    @property
    def mean_gap(self) -> timedelta:
        return (self.last_at - self.first_at) / (self.number - 1)

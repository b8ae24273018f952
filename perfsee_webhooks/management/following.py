"""What has come in since one last looked, and what has become of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from perfsee_webhooks.export import Row, rows_of
from perfsee_webhooks.models import Delivery
from perfsee_webhooks.models.queries import SETTLED
from perfsee_webhooks.selection import Selection

# A row gets its key when it is inserted and is seen when it is committed: one with a lower key may
# turn up later. Keys are looked at again until so many newer ones are taken.
WINDOW: Final = 500

_UNSETTLED: Final = tuple(state for state in Delivery.State if state not in SETTLED)


class Follower:
    """Shows each delivery of a selection once, as it comes in.

    With states in the selection it shows a delivery each time it is seen to enter one of them;
    otherwise, with `settled`, once more when it is settled. To notice that, the latest `WINDOW`
    deliveries that are not settled are watched: what is older is not.
    """

    def __init__(self, selection: Selection, *, settled: bool = False) -> None:
        self._deliveries = replace(selection, states=()).deliveries()
        self._later_states = selection.states or (SETTLED if settled else ())
        self._first_states = selection.states or tuple(Delivery.State)
        self._cursor = 0
        self._seen: set[int] = set()
        self._watched: dict[int, str] = {}

    def latest(self, count: int) -> list[Row]:
        """Return the last `count` that are there, the oldest first, and begin to follow them.

        Raises:
            DatabaseError: the database did not answer.
        """
        self._cursor = _newest_key()
        in_window = self._deliveries.filter(pk__gt=self._cursor - WINDOW, pk__lte=self._cursor)
        self._seen = set(in_window.values_list("pk", flat=True))
        if self._later_states:
            waiting = self._deliveries.filter(state__in=_UNSETTLED).order_by("-received_at", "-pk")
            newest_first = list(waiting.values_list("pk", "state")[:WINDOW])
            self._watched = dict(reversed(newest_first))
        shown = self._deliveries.filter(state__in=self._first_states).order_by("-pk")[:count]
        rows = list(rows_of(shown))[::-1]
        self._seen |= {row["id"] for row in rows}
        return rows

    def look(self) -> Iterator[Row]:
        """Yield what has come in or changed since the last look; bounded in memory.

        Raises:
            DatabaseError: the database did not answer. The next look goes on where this one ended.
        """
        yield from self._changed()
        newest = _newest_key()
        while batch := self._unseen():
            yield from (row for row in batch if row["state"] in self._first_states)
        # What does not match is passed by, or each look would read it again.
        self._move_to(newest)

    def _unseen(self) -> list[Row]:
        newer = self._deliveries.filter(pk__gt=self._cursor - WINDOW).exclude(pk__in=self._seen)
        batch = list(rows_of(newer[:WINDOW]))
        for row in batch:
            self._watch(row)
        self._seen |= {row["id"] for row in batch}
        if batch:
            self._move_to(batch[-1]["id"])
        return batch

    def _move_to(self, key: int) -> None:
        self._cursor = max(self._cursor, key)
        self._seen = {seen for seen in self._seen if seen > self._cursor - WINDOW}

    def _changed(self) -> Iterator[Row]:
        """Yield those watched that have entered a state that is waited for."""
        for row in list(rows_of(self._deliveries.filter(pk__in=list(self._watched)))):
            if row["state"] != self._watched[row["id"]]:
                self._watch(row)
                if row["state"] in self._later_states:
                    yield row

    def _watch(self, row: Row) -> None:
        self._watched.pop(row["id"], None)
        if self._later_states and row["state"] not in SETTLED:
            self._watched[row["id"]] = row["state"]
        while len(self._watched) > WINDOW:
            del self._watched[next(iter(self._watched))]


def _newest_key() -> int:
    keys = Delivery.objects.on_primary().order_by("-pk").values_list("pk", flat=True)
    return keys.first() or 0

"""Flaws in how what is to be done is done."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

from ..effects import EFFECTS
from ..small import MAX_ATTEMPTS, Answer, Request, SmallReceiver


class RunsBeforeTheAnswer(SmallReceiver):
    """What is to be done is done while the sender waits, which holds as long as it is quick."""

    def handle(self, request: Request, answer: Answer) -> None:
        def work_and_answer(status: int) -> None:
            if status == 204:
                self.work_once()
            answer(status)

        super().handle(request, work_and_answer)


class RunsInTheHandler(SmallReceiver):
    """Once the answer is out, the same thread goes on; where it does not get there, nobody does."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.of_this_request = threading.local()

    def insert(
        self, database: sqlite3.Connection, key: str, row: tuple[str, bytes, str], verb: str = ""
    ) -> None:
        super().insert(database, key, row, verb)
        self.of_this_request.new = key

    def handle(self, request: Request, answer: Answer) -> None:
        self.of_this_request.new = None
        super().handle(request, answer)
        if self.of_this_request.new:
            for _attempt in range(MAX_ATTEMPTS):
                self.attempt(self.of_this_request.new, self.delivery_id(request))

    def work(self) -> None:
        """Leave all to the handler."""


class KeepsItsQueueInMemory(SmallReceiver):
    """A queue between threads is simple, and empty after a restart."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.waiting: dict[str, str] = {}

    def insert(
        self, database: sqlite3.Connection, key: str, row: tuple[str, bytes, str], verb: str = ""
    ) -> None:
        super().insert(database, key, row, verb)
        self.waiting[key] = row[0]

    def pending(self) -> list[tuple[str, str]]:
        undone = super().pending()
        return [(key, delivery_id) for key, delivery_id in undone if key in self.waiting]


class DropsAfterAFailure(SmallReceiver):
    """A failure is logged, and the row is marked as done like any other."""

    def settle(self, key: str, *, is_done: bool) -> None:
        super().settle(key, is_done=True)


class StopsAtTheFirstFailure(SmallReceiver):
    """One loop over all that is to be done, in which an exception ends the loop."""

    def attempt(self, key: str, delivery_id: str) -> None:
        done = self.done(key)
        is_done = all(
            self.try_to_do(key, delivery_id, name) for name in EFFECTS if name not in done
        )
        self.settle(key, is_done=is_done)


class RunsAllAgain(SmallReceiver):
    """A retry is of the delivery as a whole: what went well is done a second time."""

    def done(self, key: str) -> set[str]:
        return set()

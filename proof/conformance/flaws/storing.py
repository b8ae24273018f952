"""Flaws in what is kept, when, and what is taken for a repeat."""

from __future__ import annotations

import hashlib
import sqlite3
import sys
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from ..small import Answer, Refused, Request, SmallReceiver
from .race import RACE_SECONDS


class AnswersBeforeStoring(SmallReceiver):
    """The sender should not wait for the database, and what is stored a moment later is stored."""

    def handle(self, request: Request, answer: Answer) -> None:
        try:
            self.verify(request)
            self.delivery_id(request)
        except Refused as refusal:
            answer(refusal.status)
            return
        answer(204)
        self.store(request)
        self.work_to_do.set()


class VerifiesInTheBackground(SmallReceiver):
    """Answer at once, do the work later; and verifying looks like work."""

    def read(self, handler: BaseHTTPRequestHandler) -> bytes:
        return handler.rfile.read(int(handler.headers.get("Content-Length") or 0))

    def handle(self, request: Request, answer: Answer) -> None:
        answer(202)
        super().handle(request, lambda _status: None)


class SwallowsDatabaseErrors(SmallReceiver):
    """An error must not make the sender send again, so it is logged and answered 204."""

    def store(self, request: Request) -> None:
        try:
            super().store(request)
        except sqlite3.Error as error:
            print(error, file=sys.stderr)


class ChecksThenInserts(SmallReceiver):
    """`if not exists(id): insert(id)` reads like a rule, but two at once both find nothing."""

    def key(self, request: Request) -> str:
        return f"{self.delivery_id(request)} {uuid.uuid4()}"

    def store(self, request: Request) -> None:
        delivery_id, body, _event = row = self.row(request)
        with self.connection() as database:
            known = database.execute(
                "SELECT body FROM delivery WHERE id = ?", [delivery_id]
            ).fetchone()
        if known is not None:
            if known[0] != body:
                raise Refused(409)
            return
        time.sleep(RACE_SECONDS)
        with self.transaction() as database:
            self.insert(database, self.key(request), row)


class DedupesBeforeVerifying(SmallReceiver):
    """A repeat is the cheapest case, so it is answered first, whoever sends it."""

    def verify(self, request: Request) -> None:
        with self.connection() as database:
            known = database.execute(
                "SELECT 1 FROM delivery WHERE key = ?", [self.key(request)]
            ).fetchone()
        if known is None:
            super().verify(request)


class RemembersBeforeVerifying(SmallReceiver):
    """The id goes into a cache of what was seen first thing, and a stranger's request does too."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.forged: set[str] = set()

    def verify(self, request: Request) -> None:
        try:
            super().verify(request)
        except Refused:
            self.forged.add(self.header(request, "X-Perfsee-Delivery"))
            raise

    def store(self, request: Request) -> None:
        if self.delivery_id(request) not in self.forged:
            super().store(request)


class DedupesInMemory(SmallReceiver):
    """A set of the ids that were seen is fast, and empty after a restart."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.seen: dict[str, bytes] = {}
        self.lock = threading.Lock()

    def store(self, request: Request) -> None:
        delivery_id, body, _event = row = self.row(request)
        with self.lock:
            known = self.seen.get(delivery_id)
            if known is None:
                with self.transaction() as database:
                    self.insert(database, f"{delivery_id} {uuid.uuid4()}", row)
                self.seen[delivery_id] = body
            elif known != body:
                raise Refused(409)


class DedupesByBody(SmallReceiver):
    """Equal bytes are taken for a repeat, but two events may well say the same."""

    def key(self, request: Request) -> str:
        self.delivery_id(request)
        return hashlib.sha256(request.body).hexdigest()


class KeysByHook(SmallReceiver):
    """Each hook seems to have deliveries of its own, but one event comes by all its hooks."""

    def key(self, request: Request) -> str:
        return f"{self.header(request, 'X-Perfsee-Hook-ID')} {self.delivery_id(request)}"


class OverwritesTheFirst(SmallReceiver):
    """`INSERT OR REPLACE`: the last word is the right one, and the first is gone."""

    def store(self, request: Request) -> None:
        with self.transaction() as database:
            known = database.execute(
                "SELECT body FROM delivery WHERE key = ?", [self.key(request)]
            ).fetchone()
            if known is None or known[0] != self.kept(request):
                self.insert(database, self.key(request), self.row(request), "OR REPLACE")


class IgnoresTheSecond(SmallReceiver):
    """`INSERT OR IGNORE` and 204: nobody looks whether it is the same body."""

    def store(self, request: Request) -> None:
        with self.transaction() as database:
            self.insert(database, self.key(request), self.row(request), "OR IGNORE")


class MakesUpAnId(SmallReceiver):
    """A default for what is missing: without an id there is no way to tell a repeat."""

    def delivery_id(self, request: Request) -> str:
        missing = "X-Perfsee-Delivery" not in request.headers
        return str(uuid.uuid4()) if missing else super().delivery_id(request)


class NamesFilesById(SmallReceiver):
    """The body goes into a file named after the delivery, wherever that name leads."""

    def delivery_id(self, request: Request) -> str:
        delivery_id = self.header(request, "X-Perfsee-Delivery")
        if not delivery_id:
            raise Refused(400)
        bodies = self.folder / "bodies"
        bodies.mkdir(exist_ok=True)
        (bodies / f"{delivery_id}.json").write_bytes(request.body)
        return delivery_id

"""A small honest receiver of nothing but the standard library, to be made wrong one step at a time.

It verifies the exact bytes, stores them in SQLite before it answers, and has a worker do what is to
be done: each effect in a transaction of its own, again after a failure, and after a restart too.

Its database is in WAL mode, so that who looks into it holds up nobody. A commit survives the end of
the process, not that of the machine, which no scenario asks for.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar, Final

from .effects import EFFECTS, be_moody

SECRETS: Final = ("the new secret 🔑", "the old secret")
PATH: Final = "/hook/"
MAX_BODY_BYTES: Final = 10 * 1024 * 1024
MAX_DISCARDED_BYTES: Final = 64 * 1024 * 1024
MAX_ATTEMPTS: Final = 3
DATABASE_SECONDS: Final = 0.5
WORKER_SECONDS: Final = 0.02

SCHEMA: Final = """
PRAGMA journal_mode = WAL;
CREATE TABLE IF NOT EXISTS delivery (
    key TEXT PRIMARY KEY, id TEXT, body BLOB, event TEXT, attempts INT DEFAULT 0, done INT DEFAULT 0
);
CREATE TABLE IF NOT EXISTS effect (key TEXT, id TEXT, name TEXT);
"""

Answer = Callable[[int], None]


class Refused(Exception):
    """A request that is not stored, and the status that says so."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request as it came."""

    headers: Message
    body: bytes


class SmallReceiver:
    """Each step is a method, for a flaw to replace."""

    server_class: ClassVar[type[HTTPServer]] = ThreadingHTTPServer
    paths: ClassVar[tuple[str, ...]] = (PATH, PATH.rstrip("/"))

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.secrets = list(SECRETS)
        self.work_to_do = threading.Event()
        self.at_work = threading.Lock()
        self.writing = threading.Lock()
        with self.connection() as database:
            database.executescript(SCHEMA)

    @contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """Open the database, without a transaction."""
        database = sqlite3.connect(
            self.folder / "receiver.sqlite3", timeout=DATABASE_SECONDS, isolation_level=None
        )
        database.execute("PRAGMA synchronous = NORMAL")
        try:
            yield database
        finally:
            database.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Open the database in a transaction that has the only right to write."""
        with self.writing, self.connection() as database:
            database.execute("BEGIN IMMEDIATE")
            with database:
                yield database

    def handle(self, request: Request, answer: Answer) -> None:
        """Receive a request: verify, store, answer, and have the rest done."""
        try:
            self.verify(request)
            self.store(request)
        except Refused as refusal:
            answer(refusal.status)
        except sqlite3.Error:
            answer(503)
        else:
            answer(204)
            self.work_to_do.set()

    def handle_get(self) -> int:
        """Return the status for a request that is no POST."""
        return 405

    def length(self, handler: BaseHTTPRequestHandler) -> int:
        """Return how long the body says that it is."""
        declared = handler.headers.get("Content-Length", "")
        if not re.fullmatch(r"[0-9]{1,18}", declared):
            raise Refused(411)
        return int(declared)

    def read(self, handler: BaseHTTPRequestHandler) -> bytes:
        """Return the body, all of it."""
        length = self.length(handler)
        body = self.read_bytes(handler, min(length, MAX_BODY_BYTES))
        if length > MAX_BODY_BYTES:
            # A connection that is closed on unread bytes takes the answer with it.
            handler.rfile.read(min(length, MAX_DISCARDED_BYTES) - MAX_BODY_BYTES)
            raise Refused(413)
        if len(body) < length:
            raise Refused(400)
        return body

    def read_bytes(self, handler: BaseHTTPRequestHandler, length: int) -> bytes:
        """Return so many bytes, fewer only where the client has gone."""
        return handler.rfile.read(length)

    def header(self, request: Request, name: str) -> str:
        """Return the one value of a header, empty text if it is missing or comes twice."""
        values = request.headers.get_all(name, [])
        return str(values[0]) if len(values) == 1 else ""

    def verify(self, request: Request) -> None:
        """Compare the signature with that of the exact bytes, for each secret."""
        claimed = self.header(request, "X-Perfsee-Signature-256")
        if not any(self.is_signed(request, claimed, secret) for secret in self.secrets):
            raise Refused(400)

    def is_signed(self, request: Request, claimed: str, secret: str) -> bool:
        """Say whether a secret makes the signature, in constant time, compared as bytes."""
        return hmac.compare_digest(signature(request.body, secret).encode(), claimed.encode())

    def delivery_id(self, request: Request) -> str:
        """Return the delivery's id, which has to be fit for a database, a log and a file's name."""
        delivery_id = self.header(request, "X-Perfsee-Delivery")
        if not re.fullmatch(r"[0-9A-Za-z][0-9A-Za-z._:-]{0,127}", delivery_id):
            raise Refused(400)
        return delivery_id

    def key(self, request: Request) -> str:
        """Return what tells a repeat."""
        return self.delivery_id(request)

    def event(self, request: Request) -> str:
        """Return the event that the body names."""
        try:
            body = json.loads(request.body)
        except (ValueError, RecursionError):
            return "unknown"
        named = body.get("eventType") if isinstance(body, dict) else None
        return named.encode(errors="replace").decode() if isinstance(named, str) else "unknown"

    def kept(self, request: Request) -> bytes:
        """Return what is kept of the body."""
        return request.body

    def store(self, request: Request) -> None:
        """Commit the delivery, unless it is known; the transaction has begun before the look."""
        key, row = self.key(request), self.row(request)
        with self.transaction() as database:
            known = database.execute("SELECT body FROM delivery WHERE key = ?", [key]).fetchone()
            if known is None:
                self.insert(database, key, row)
            elif known[0] != row[1]:
                raise Refused(409)

    def row(self, request: Request) -> tuple[str, bytes, str]:
        """Return the columns of a delivery: its id, its body and its event."""
        return self.delivery_id(request), self.kept(request), self.event(request)

    def insert(
        self, database: sqlite3.Connection, key: str, row: tuple[str, bytes, str], verb: str = ""
    ) -> None:
        """Insert the columns of a delivery."""
        database.execute(
            f"INSERT {verb} INTO delivery (key, id, body, event) VALUES (?, ?, ?, ?)",  # noqa: S608  # a constant
            [key, *row],
        )

    def work(self) -> None:
        """Do what is to be done, for ever."""
        while True:
            self.work_to_do.wait(WORKER_SECONDS)
            self.work_to_do.clear()
            try:
                self.work_once()
            except sqlite3.Error:
                time.sleep(WORKER_SECONDS)

    def work_once(self) -> None:
        """Make one attempt at each delivery that is not done."""
        with self.at_work:
            for key, delivery_id in self.pending():
                self.attempt(key, delivery_id)

    def pending(self) -> list[tuple[str, str]]:
        """Return the keys and ids of the deliveries that are not done."""
        with self.connection() as database:
            return database.execute("SELECT key, id FROM delivery WHERE NOT done").fetchall()

    def attempt(self, key: str, delivery_id: str) -> None:
        """Do the effects that are not done yet."""
        done = self.done(key)
        outcomes = [self.try_to_do(key, delivery_id, name) for name in EFFECTS if name not in done]
        self.settle(key, is_done=all(outcomes))

    def done(self, key: str) -> set[str]:
        """Return the effects of a delivery that are done."""
        with self.connection() as database:
            return {
                name for (name,) in database.execute("SELECT name FROM effect WHERE key = ?", [key])
            }

    def try_to_do(self, key: str, delivery_id: str, name: str) -> bool:
        """Do one effect, and return whether that went well."""
        try:
            be_moody(name, delivery_id, self.folder)
        except Exception:  # noqa: BLE001  # whatever it raises, the others have their turn
            return False
        with self.transaction() as database:
            database.execute("INSERT INTO effect VALUES (?, ?, ?)", [key, delivery_id, name])
        return True

    def settle(self, key: str, *, is_done: bool) -> None:
        """Count the attempt; what has failed too often is not tried again."""
        with self.transaction() as database:
            database.execute(
                "UPDATE delivery SET attempts = attempts + 1, done = ? OR attempts + 1 >= ? "
                "WHERE key = ?",
                [is_done, MAX_ATTEMPTS, key],
            )

    def serve(self) -> None:
        """Listen on a free port, print it, and serve for ever."""
        handler = type("Handler", (_Handler,), {"receiver": self})
        server = self.server_class(("127.0.0.1", 0), handler)
        server.socket.listen(128)
        threading.Thread(target=self.work, daemon=True).start()
        print(server.server_port, flush=True)
        server.serve_forever()


def signature(body: bytes, secret: str) -> str:
    """Return the signature of a body."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    receiver: SmallReceiver
    timeout = 30

    def do_POST(self) -> None:  # the base class calls it by this name
        if self.path not in self.receiver.paths:
            self.redirect()
            return
        try:
            body = self.receiver.read(self)
            self.receiver.handle(Request(headers=self.headers, body=body), self.answer)
        except Refused as refusal:
            self.answer(refusal.status)
        except Exception:  # as each framework does
            self.answer(500)
            raise

    def do_GET(self) -> None:
        self.answer(self.receiver.handle_get())

    do_HEAD = do_PUT = do_DELETE = do_GET  # noqa: N815  # as the base class calls them

    def redirect(self) -> None:
        self.send_response(301)
        self.send_header("Location", PATH)
        self.end_headers()

    def answer(self, status: int) -> None:
        self.send_response(status)
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        """Print nothing."""


def main(receiver_class: type[SmallReceiver], folder: str) -> None:
    """Serve until the process is killed."""
    receiver_class(Path(folder)).serve()

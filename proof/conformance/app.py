"""This app as a receiver under test: the example site on gunicorn, and the sweep beside it."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import psycopg
from psycopg.sql import SQL, Identifier

from tests.sites import ROOT, START_SECONDS, running_environment

from .process import locked
from .receiver import Stored

_WEB: Final = (
    "gunicorn",
    "--worker-class=gthread",
    "--threads=8",
    "--workers=2",
    "--no-control-socket",
    "--bind=127.0.0.1:0",
    "example_project.wsgi",
)
_LISTENING: Final = re.compile(r"Listening at: (http://[^/\s]+)")
_SETTLED: Final = {"succeeded", "dead", "unhandled"}
_CREATE: Final = "CREATE TABLE conformance_effect (delivery_id text, name text)"


@dataclass(kw_only=True)
class AppProcesses:
    """Implements `ReceiverAtHand` for this app, on SQLite or PostgreSQL, with a spool or not."""

    name: str
    folder: Path
    database_url: str
    has_spool: bool = False
    patience_seconds: float = 20.0
    url: str = ""
    secrets: tuple[str, ...] = ("the new secret 🔑", "the old secret just as long")
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list, repr=False)

    def prepare(self) -> None:
        """Create the tables in an empty database, or those that are missing in a migrated one."""
        command = [sys.executable, "manage.py", "migrate", "-v0"]
        subprocess.run(command, check=True, cwd=ROOT, env=self._environment())
        if self._file:
            with closing(sqlite3.connect(self._file)) as database:
                database.execute(_CREATE)
        else:
            with psycopg.connect(self.database_url, autocommit=True) as server:
                server.execute(_CREATE)

    def start(self) -> None:
        """Start the server and the sweep, and read the address that the server has printed."""
        sweep = ("manage.py", "perfsee_sweep", "--watch=0.1")
        log = self.folder / "web.log"
        self.processes = [
            self._launched(log, "-m", *_WEB),
            self._launched(self.folder / "sweep.log", *sweep),
        ]
        self.url = f"{self._origin(log)}/perfsee/webhook/"

    def kill(self) -> None:
        """End all of them with SIGKILL."""
        for process in self.processes:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self.processes = []

    def revive(self) -> None:
        """Start them again if one has ended; gunicorn looks after its workers itself."""
        if not self.processes or any(process.poll() is not None for process in self.processes):
            self.kill_the_rest()
            self.start()

    def kill_the_rest(self) -> None:
        """End those that still run."""
        self.processes = [process for process in self.processes if process.poll() is None]
        self.kill()

    def stored(self, delivery_id: str) -> list[Stored]:
        """Return each row that it keeps under an id."""
        rows = self._rows(
            "SELECT body, event_type FROM perfsee_webhooks_delivery WHERE delivery_id = ",
            delivery_id,
        )
        return [Stored(body=bytes(body), event_type=event_type) for body, event_type in rows]

    def effects(self, delivery_id: str) -> Counter[str]:
        """Return how often each effect of a delivery is done."""
        rows = self._rows("SELECT name FROM conformance_effect WHERE delivery_id = ", delivery_id)
        return Counter(name for (name,) in rows)

    def is_settled(self, delivery_id: str) -> bool:
        """Say whether nothing is left to be done for a delivery."""
        rows = self._rows(
            "SELECT state FROM perfsee_webhooks_delivery WHERE delivery_id = ", delivery_id
        )
        return bool(rows) and all(state in _SETTLED for (state,) in rows)

    @contextmanager
    def database_away(self) -> Iterator[None]:
        """Hold the lock of SQLite, or end all connections to PostgreSQL and have it take none."""
        if self._file:
            with locked(self._file):
                yield
            return
        parts = urlsplit(self.database_url)
        database = parts.path.strip("/")
        allow = SQL("ALTER DATABASE {} WITH ALLOW_CONNECTIONS {}")
        with psycopg.connect(parts._replace(path="/template1").geturl(), autocommit=True) as server:
            server.execute(allow.format(Identifier(database), SQL("false")))
            server.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                [database],
            )
            yield
            server.execute(allow.format(Identifier(database), SQL("true")))

    @property
    def _file(self) -> Path | None:
        path = self.database_url.removeprefix("sqlite:///")
        return Path(path) if path != self.database_url else None

    def _rows(self, statement: str, delivery_id: str) -> list[tuple[Any, ...]]:
        if self._file:
            with closing(sqlite3.connect(self._file)) as database:
                return database.execute(f"{statement}?", [delivery_id]).fetchall()
        with psycopg.connect(self.database_url) as server:
            return server.execute(f"{statement}%s".encode(), [delivery_id]).fetchall()

    def _environment(self) -> dict[str, str]:
        environment = running_environment(
            self.database_url,
            {
                "CONFORMANCE_FOLDER": str(self.folder),
                "DJANGO_SETTINGS_MODULE": "proof.conformance.site.settings",
                "PERFSEE_SECRETS": ",".join(self.secrets),
            },
        )
        if self.has_spool:
            (self.folder / "spool").mkdir(mode=0o700, exist_ok=True)
            environment["PERFSEE_SPOOL_DIR"] = str(self.folder / "spool")
        return environment

    def _launched(self, log: Path, *command: str) -> subprocess.Popen[bytes]:
        with log.open("wb") as written:
            return subprocess.Popen(
                [sys.executable, *command],
                cwd=ROOT,
                env=self._environment(),
                stdout=written,
                stderr=written,
                start_new_session=True,
            )

    def _origin(self, log: Path) -> str:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if listening := _LISTENING.search(log.read_text()):
                return listening[1]
            time.sleep(0.02)
        raise RuntimeError(f"{self.name} did not start:\n{log.read_text()}")

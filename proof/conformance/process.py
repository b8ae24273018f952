"""A small receiver in a process of its own."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from . import flaws, small
from .receiver import Stored

_ROOT: Final = Path(__file__).parents[2]
# Without `site`, which a small receiver does not need, and which takes as long as all the rest.
_COMMAND: Final = (sys.executable, "-S", "-m", flaws.__name__)


@dataclass(kw_only=True)
class SmallProcess:
    """Implements `ReceiverAtHand` for a small receiver, which stands for it by name."""

    name: str
    folder: Path
    patience_seconds: float = 1.5
    url: str = ""
    secrets: tuple[str, ...] = small.SECRETS
    process: subprocess.Popen[str] | None = field(default=None, repr=False)

    def start(self) -> None:
        """Start the process and read the port that it has printed."""
        self.process = subprocess.Popen(
            [*_COMMAND, self.name, str(self.folder)],
            cwd=_ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stdout is not None
        port = self.process.stdout.readline().strip()
        if not port:
            raise RuntimeError(f"{self.name} did not start.")
        self.url = f"http://127.0.0.1:{port}{small.PATH}"

    def kill(self) -> None:
        """End the process with SIGKILL."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            assert self.process.stdout is not None
            self.process.stdout.close()
            self.process = None

    def revive(self) -> None:
        """Start it again if it has ended."""
        if self.process is None or self.process.poll() is not None:
            self.kill()
            self.start()

    def stored(self, delivery_id: str) -> list[Stored]:
        """Return each row that it keeps under an id."""
        rows = self._rows("SELECT body, event FROM delivery WHERE id = ?", delivery_id)
        return [Stored(body=body, event_type=event) for body, event in rows]

    def effects(self, delivery_id: str) -> Counter[str]:
        """Return how often each effect of a delivery is done."""
        rows = self._rows("SELECT name FROM effect WHERE id = ?", delivery_id)
        return Counter(name for (name,) in rows)

    def is_settled(self, delivery_id: str) -> bool:
        """Say whether each row of a delivery is done."""
        rows = self._rows("SELECT done FROM delivery WHERE id = ?", delivery_id)
        return bool(rows) and all(done for (done,) in rows)

    @contextmanager
    def database_away(self) -> Iterator[None]:
        """Hold the lock that it needs to write."""
        with locked(self._file):
            yield

    @property
    def _file(self) -> Path:
        return self.folder / "receiver.sqlite3"

    def _rows(self, statement: str, delivery_id: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self._file)) as database:
            return database.execute(statement, [delivery_id]).fetchall()


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Hold the lock of a SQLite database that writers need; who reads goes on."""
    with closing(sqlite3.connect(file, isolation_level=None, timeout=10)) as database:
        database.execute("BEGIN IMMEDIATE")
        yield
        database.execute("ROLLBACK")

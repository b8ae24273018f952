"""Upgrades a site with a million deliveries while it receives, and measures who had to wait.

`python -m proof.upgrades [--rows 1000000] [--database sqlite]`

First from the schema of the first release to the last one. Then a rehearsal of what a release may
bring, `proof.rehearsal`, while a real server receives; and what `tests.migration_lint` forbids, to
show that the measurement would notice.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import psycopg

from perfsee_webhooks.sending import NotSent
from tests.migration_lint import APP, first_released, names
from tests.postgresql import PrivatePostgreSQL
from tests.sites import GUNICORN_THREADS, ROOT, Site, migrate, running_environment, running_site

from .rehearsal.filling import DELIVERIES, fill, fill_by_django, store
from .rehearsal.load import POLL_SECONDS, Load, watched
from .table import Row, table

ROWS: Final = 1_000_000
ROWS_ON_SQLITE: Final = 100_000
LIMIT_SECONDS: Final = 60
LONGEST_WAIT_SECONDS: Final = 1.0
LOCK_TIMEOUT: Final = "500ms"

ALLOWED: Final = ("9001_columns", "9002_index")
FORBIDDEN: Final = ("9003_forbidden_index", "9004_forbidden_type")
# With fewer rows an index is built before a writer has waited for long.
ROWS_THAT_TAKE_TIME: Final = 500_000

_SETTLE_SECONDS = 10
_STORED = f"SELECT delivery_id, body, state FROM {DELIVERIES} WHERE delivery_id = ANY(%s)"  # noqa: S608  # a constant
_APPLIED = re.compile(rf"Applying {APP}\.(\w+)\.\.\. OK \((\d+\.\d+)s\)")
_FILES = """
    SELECT relname, pg_relation_filenode(oid) FROM pg_class
    WHERE relkind = 'r' AND starts_with(relname, 'perfsee_webhooks_')
"""


@dataclass(kw_only=True)
class Step:
    """What came of one migration, or of several that were applied at once."""

    name: str
    seconds: float
    rewritten: set[str]
    waited_seconds: float
    longest_answer_seconds: float

    def __str__(self) -> str:
        rewrote = f"rewrote {', '.join(sorted(self.rewritten))}, " if self.rewritten else ""
        return (
            f"{self.name} in {self.seconds:.2f} s, {rewrote}writers waited "
            f"{self.waited_seconds:.2f} s, slowest answer {self.longest_answer_seconds:.2f} s"
        )

    @property
    def wrong(self) -> int:
        """How many of the things that a migration may not do it did."""
        return len(self.rewritten) + (self.waited_seconds > LONGEST_WAIT_SECONDS)


def run(rows: int = ROWS) -> list[Row]:
    """Upgrade a PostgreSQL with that many deliveries, and return a row for each part."""
    server = PrivatePostgreSQL.start(is_durable=True)
    try:
        _migrate(server.url, first_released(), settings="example_project.settings")
        started = time.monotonic()
        fill(server.url, rows)
        print(f"{rows:,} deliveries in {time.monotonic() - started:.0f} s", flush=True)
        upgraded = _upgrade(server.url, rows)
        migrate(server.url)
        with running_site(GUNICORN_THREADS, server.url) as site:
            return [upgraded, *_rehearse(server.url, site, rows)]
    finally:
        server.stop()


def _upgrade(url: str, rows: int) -> Row:
    load = Load(deliver=lambda delivery_id, body: store(url, delivery_id, body))
    last, later = names()[-1], names()[1:]
    with load.going_on():
        steps = [_step(url, load, name, settings="example_project.settings") for name in later]
    note = "" if later else f"; there is none after {last} yet"
    scenario = f"{rows:,} deliveries go from {first_released()} to {last}"
    return _row(url, load, steps, scenario, note)


def _rehearse(url: str, site: Site, rows: int) -> list[Row]:
    load = Load(deliver=lambda delivery_id, body: _answered(site, delivery_id, body))
    with load.going_on():
        patience = _patience(url, load)
        steps = _steps(url, load, ALLOWED, rows)
    rehearsed = _row(url, load, steps, f"{rows:,} deliveries get columns and an index", "")
    return [patience, rehearsed, _forbidden(url, load, rows)]


def _forbidden(url: str, load: Load, rows: int) -> Row:
    """Apply what no release may bring, and hold it against the measurement if it does not show."""
    with load.going_on():
        steps = _steps(url, load, FORBIDDEN, rows)
    is_rewrite_seen = DELIVERIES in steps[-1].rewritten
    are_locks_seen = all(step.waited_seconds > LONGEST_WAIT_SECONDS / 2 for step in steps)
    return Row(
        scenario="what is forbidden is seen to rewrite, and to lock",
        tried=len(steps),
        lost=0,
        wrong=(not is_rewrite_seen) + (not are_locks_seen and rows >= ROWS_THAT_TAKE_TIME),
        note="; ".join(map(str, steps)),
    )


def _patience(url: str, load: Load) -> Row:
    """Try to migrate while a receiver keeps a transaction open: it gives up, or all would wait."""
    with psycopg.connect(url) as receiver, watched(url) as waits:
        receiver.execute(f"SELECT id FROM {DELIVERIES} LIMIT 1")  # noqa: S608  # a constant
        before = len(load.answers)
        gave_up = False
        try:
            _migrate(url, ALLOWED[0], PGOPTIONS=f"-c lock_timeout={LOCK_TIMEOUT}")
        except subprocess.CalledProcessError as error:
            gave_up = "lock timeout" in error.stderr
    longest = max(waits, default=0.0)
    return Row(
        scenario=f"a migration gives up after {LOCK_TIMEOUT} while a receiver is in a transaction",
        tried=len(load.answers) - before,
        lost=0,
        wrong=(not gave_up) + (longest > LONGEST_WAIT_SECONDS),
        note=f"writers waited {longest:.2f} s" + ("" if gave_up else "; it did not give up"),
    )


def _row(url: str, load: Load, steps: list[Step], scenario: str, note: str) -> Row:
    stored = _settled(url, list(load.sent))
    lost = [one for one in load.acknowledged if stored.get(one, (b"",))[0] != load.sent[one]]
    undone = [one for one, (_body, state) in stored.items() if state != "succeeded"]
    refused = len(load.sent) - len(load.acknowledged)
    seconds = sum(step.seconds for step in steps)
    return Row(
        scenario=scenario,
        tried=len(load.sent),
        lost=len(lost),
        wrong=refused + len(undone) + sum(step.wrong for step in steps) + (seconds > LIMIT_SECONDS),
        note=f"{seconds:.1f} s of {LIMIT_SECONDS}{note}"
        + "".join(f"; {step}" for step in steps)
        + (f"; {refused} not accepted" if refused else "")
        + (f"; {len(undone)} not succeeded" if undone else ""),
    )


def _settled(url: str, sent: list[str]) -> dict[str, tuple[bytes, str]]:
    """Wait until the last receiver is done, and return what is stored of what was sent."""
    deadline = time.monotonic() + _SETTLE_SECONDS
    with psycopg.connect(url, autocommit=True) as database:
        while True:
            found = database.execute(_STORED, (sent,)).fetchall()
            stored = {delivery_id: (body, state) for delivery_id, body, state in found}
            states = {state for _body, state in stored.values()}
            if not states & {"received", "processing"} or time.monotonic() > deadline:
                return stored
            time.sleep(POLL_SECONDS)


def _steps(url: str, load: Load, migrations: Sequence[str], rows: int) -> list[Step]:
    """Apply each by itself; few rows all at once, since each process takes a second."""
    apart = migrations if rows >= ROWS_THAT_TAKE_TIME else migrations[-1:]
    return [_step(url, load, name) for name in apart]


def _step(url: str, load: Load, name: str, settings: str = "proof.rehearsal.settings") -> Step:
    started = time.monotonic()
    before = _files(url)
    with watched(url) as waits:
        seconds = _migrate(url, name, settings=settings)
    after = _files(url)
    return Step(
        name=name,
        seconds=seconds,
        rewritten={table for table, file in before.items() if after.get(table) != file},
        waited_seconds=max(waits, default=0.0),
        longest_answer_seconds=load.longest_since(started),
    )


def _migrate(
    url: str, name: str, settings: str = "proof.rehearsal.settings", **environment: str
) -> float:
    """Migrate in a process of its own, and return the seconds that Django says it took."""
    ran = subprocess.run(
        [sys.executable, "manage.py", "migrate", "-v2", APP, name],
        check=True,
        capture_output=True,
        cwd=ROOT,
        env=running_environment(url, {"DJANGO_SETTINGS_MODULE": settings, **environment}),
        text=True,
    )
    return sum(float(seconds) for _name, seconds in _APPLIED.findall(ran.stdout))


def _answered(site: Site, delivery_id: str, body: bytes) -> bool:
    try:
        return site.send(body, delivery_id).status == 204
    except NotSent:
        return False


def _files(url: str) -> dict[str, int]:
    with psycopg.connect(url) as database:
        return dict(database.execute(_FILES).fetchall())


def time_on_sqlite(rows: int) -> list[str]:
    """Return how long the rehearsal takes on SQLite, where nobody can write meanwhile."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/site.sqlite3"
        migrate(url)
        site = Site(environment=running_environment(url))
        site.manage("shell", "-v0", "-c", fill_by_django(rows))
        return [f"{name} in {_migrate(url, name):.2f} s" for name in (*ALLOWED, *FORBIDDEN)]


def main(arguments: list[str] | None = None) -> int:
    """Return 0 if nothing was lost, nobody waited for long, and nothing was rewritten."""
    parser = argparse.ArgumentParser(prog="python -m proof.upgrades")
    parser.add_argument("--rows", type=int)
    parser.add_argument("--database", choices=["postgresql", "sqlite"], default="postgresql")
    options = parser.parse_args(arguments)
    if options.database == "sqlite":
        print(*time_on_sqlite(options.rows or ROWS_ON_SQLITE), sep="\n")
        return 0
    rows = run(options.rows or ROWS)
    print(f"\n{table(rows)}")
    return 0 if all(row.holds for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())

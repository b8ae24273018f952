"""Runs every scenario against every receiver, and tells who stands which."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from proof.table import Row
from tests.postgresql import PrivatePostgreSQL

from .app import AppProcesses
from .flaws import FLAWS, HONEST
from .process import SmallProcess
from .receiver import Receiver, ReceiverAtHand
from .scenarios import SCENARIOS, Scenario
from .trial import Trial, Violation

# How many receivers are tried at once: most of the time is spent waiting for their processes.
_AT_ONCE: Final = 6

Verdicts = Mapping[str, Violation | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """What each scenario said of each receiver: of this app in its forms, and of the small ones."""

    apps: Mapping[str, Verdicts]
    honest: Verdicts
    flaws: Mapping[str, Verdicts]

    @property
    def caught(self) -> dict[str, list[str]]:
        """The scenarios that each receiver does not stand, in their order; the app is one."""
        app = [name for name in self.honest if any(one[name] for one in self.apps.values())]
        flaws = {flaw: violated(verdicts) for flaw, verdicts in self.flaws.items()}
        return {"app": app, "honest": violated(self.honest), **flaws}

    @property
    def rows(self) -> list[Row]:
        """What it says in rows of the proof's table."""
        uncaught = [flaw for flaw, verdicts in self.flaws.items() if not violated(verdicts)]
        return [
            *(_row(f"conformance: {name}", verdicts) for name, verdicts in self.apps.items()),
            _row("conformance: a small honest receiver", self.honest),
            Row(
                scenario="conformance: flaws that have to be caught",
                tried=len(self.flaws),
                lost=0,
                wrong=len(uncaught),
                note=", ".join(uncaught),
            ),
        ]


def violated(verdicts: Verdicts) -> list[str]:
    """Return the scenarios that a receiver does not stand."""
    return [name for name, violation in verdicts.items() if violation is not None]


def run() -> list[Row]:
    """Run the whole matrix, and return its rows."""
    return matrix().rows


def matrix() -> Matrix:
    """Run every scenario against this app, the small honest receiver, and each flaw."""
    with ExitStack() as stack, ThreadPoolExecutor(_AT_ONCE) as pool:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="perfsee-proof-")))
        server = PrivatePostgreSQL.start()
        stack.callback(server.stop)
        apps = [*apps_on(folder, server.url)]
        small = [SmallProcess(name=name, folder=_new(folder, name)) for name in [HONEST, *FLAWS]]
        receivers: list[ReceiverAtHand] = [*apps, *small]
        names = [receiver.name for receiver in receivers]
        verdicts = dict(zip(names, pool.map(verdicts_on, receivers), strict=True))
    return Matrix(
        apps={app.name: verdicts[app.name] for app in apps},
        honest=verdicts[HONEST],
        flaws={flaw: verdicts[flaw] for flaw in FLAWS},
    )


def apps_on(folder: Path, server_url: str) -> Iterator[AppProcesses]:
    """Yield this app on SQLite, and on PostgreSQL with a spool, each prepared."""
    file = _new(folder, "sqlite") / "site.sqlite3"
    yield _prepared(name="this app on SQLite", folder=file.parent, url=f"sqlite:///{file}")
    yield _prepared(
        name="this app on PostgreSQL with a spool",
        folder=_new(folder, "postgresql"),
        url=server_url,
        has_spool=True,
    )


def _prepared(*, name: str, folder: Path, url: str, has_spool: bool = False) -> AppProcesses:
    app = AppProcesses(name=name, folder=folder, database_url=url, has_spool=has_spool)
    app.prepare()
    return app


def _new(folder: Path, name: str) -> Path:
    new = folder / name
    new.mkdir()
    return new


def verdicts_on(
    receiver: ReceiverAtHand, scenarios: Iterable[Scenario] = SCENARIOS
) -> dict[str, Violation | None]:
    """Start a receiver, and run scenarios against it."""
    verdicts = {}
    with running(receiver):
        for scenario in scenarios:
            verdicts[scenario.name] = verdict(scenario, receiver, receiver)
            # What it has not stood may have left it in any state.
            if verdicts[scenario.name] is not None:
                receiver.kill()
            receiver.revive()
    return verdicts


def remote_verdicts(
    receiver: Receiver, scenarios: Sequence[Scenario] = SCENARIOS
) -> dict[str, Violation | None]:
    """Run the scenarios that need nothing but HTTP."""
    return {one.name: verdict(one, receiver) for one in scenarios if not one.at_hand}


def verdict(
    scenario: Scenario, receiver: Receiver, at_hand: ReceiverAtHand | None = None
) -> Violation | None:
    """Run one scenario; return what it holds against the receiver, None for nothing."""
    try:
        scenario.run(Trial(receiver, at_hand))
    except Violation as violation:
        return violation
    except OSError as error:
        return Violation("a receiver that listens", f"{type(error).__name__}: {error}")
    return None


@contextmanager
def running(receiver: ReceiverAtHand) -> Iterator[None]:
    """Start a receiver, and kill it in the end."""
    receiver.start()
    try:
        yield
    finally:
        receiver.kill()


def _row(name: str, verdicts: Verdicts) -> Row:
    violations = [violation for violation in verdicts.values() if violation is not None]
    lost = sum(violation.is_loss for violation in violations)
    return Row(
        scenario=name,
        tried=len(verdicts),
        lost=lost,
        wrong=len(violations) - lost,
        note=", ".join(violated(verdicts)),
    )

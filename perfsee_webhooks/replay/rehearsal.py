"""A dry run: run the receivers of one delivery for real, look at what they do, take it all back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import connections, router, transaction
from django.utils import timezone

from ..models import Delivery, ReceiverRun, Replay
from ..processing import FAILURES, ReceiverRolledBack, call_receiver
from ..signals import ConnectedReceiver, named, path_of, receivers_of


@dataclass(frozen=True, slots=True, kw_only=True)
class RehearsedRun:
    """What a receiver did before it was taken back.

    run:            an unsaved `ReceiverRun` with outcome, duration, exception and traceback
    statements:     how many SQL statements it executed, on all databases
    statement_time: how long these took
    callbacks:      the names of what it left to `on_commit`, which was not called
    """

    run: ReceiverRun
    statements: int
    statement_time: timedelta
    callbacks: list[str]

    @property
    def statement_ms(self) -> float:
        """The time of its statements in milliseconds."""
        return self.statement_time / timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """The runs of a dry run, in their order."""

    delivery: Delivery
    runs: list[RehearsedRun]


@dataclass(slots=True)
class _Statements:
    """Counts and times the statements of a connection, as its `execute_wrapper`."""

    count: int = 0
    seconds: float = 0

    def __call__(self, execute: Any, sql: Any, params: Any, many: Any, context: Any) -> Any:
        self.count += 1
        started = time.perf_counter()
        try:
            return execute(sql, params, many, context)
        finally:
            self.seconds += time.perf_counter() - started


def rehearse(
    delivery: Delivery,
    *,
    receivers: Replay.Receivers = Replay.Receivers.ALL,
    only: tuple[str, ...] = (),
) -> Rehearsal:
    """Run the receivers of a delivery in transactions that are rolled back; record nothing.

    They are chosen as a replay of that delivery would choose them.

    Each database of the site is rolled back, and what was left to `on_commit` is not called. What
    a receiver does outside the databases (a mail, a call to another service, a file) is done, and
    is not undone. While it lasts, a receiver's locks hold up others as they always do.
    """
    left_out = set() if receivers == Replay.Receivers.ALL else succeeded_on(delivery)
    chosen = [
        receiver
        for receiver in named(receivers_of(delivery.event_type, sender=Delivery), only)
        if receiver.label not in left_out
    ]
    with _taken_back():
        runs = [_rehearse_one(receiver, delivery) for receiver in chosen]
    return Rehearsal(delivery=delivery, runs=runs)


def succeeded_on(delivery: Delivery) -> set[str]:
    """Return the names of the receivers whose last run on a delivery succeeded."""
    runs = ReceiverRun.objects.using(router.db_for_write(ReceiverRun)).filter(
        delivery=delivery, outcome=ReceiverRun.Outcome.SUCCEEDED
    )
    return set(runs.latest_of_receiver().values_list("receiver", flat=True))


@contextmanager
def _taken_back() -> Iterator[None]:
    """Roll back whatever is done inside, on every database."""
    with ExitStack() as stack:
        for alias in _databases():
            stack.enter_context(transaction.atomic(using=alias))
        try:
            yield
        finally:
            for alias in _databases():
                transaction.set_rollback(True, using=alias)


def _databases() -> list[str]:
    """Return the aliases of the site's databases, without those that are only a name."""
    return [
        alias
        for alias in connections
        if connections[alias].settings_dict["ENGINE"] != "django.db.backends.dummy"
    ]


def _rehearse_one(receiver: ConnectedReceiver, delivery: Delivery) -> RehearsedRun:
    run = ReceiverRun(
        delivery=delivery,
        receiver=receiver.label,
        outcome=ReceiverRun.Outcome.SUCCEEDED,
        started_at=timezone.now(),
    )
    statements = _Statements()
    waiting = {alias: len(connections[alias].run_on_commit) for alias in _databases()}
    started = time.perf_counter()
    try:
        with ExitStack() as stack:
            for alias in waiting:
                stack.enter_context(transaction.atomic(using=alias))
                stack.enter_context(connections[alias].execute_wrapper(statements))
            call_receiver(receiver, delivery)
            if any(transaction.get_rollback(using=alias) for alias in waiting):
                raise ReceiverRolledBack("The receiver returned, but marked its work for rollback.")
            callbacks = [
                path_of(function)
                for alias, known in waiting.items()
                for _savepoints, function, *_ in connections[alias].run_on_commit[known:]
            ]
    except FAILURES as error:
        run.outcome, callbacks = ReceiverRun.Outcome.FAILED, []
        run.describe(error)
    run.duration = timedelta(seconds=time.perf_counter() - started)
    return RehearsedRun(
        run=run,
        statements=statements.count,
        statement_time=timedelta(seconds=statements.seconds),
        callbacks=callbacks,
    )

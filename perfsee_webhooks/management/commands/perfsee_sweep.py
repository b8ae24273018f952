"""Take up deliveries that are due, abandoned, or that nobody was told of."""

from __future__ import annotations

import json
import signal
import threading
from collections import Counter
from datetime import datetime
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import Error as DatabaseFailure
from django.db import close_old_connections
from django.utils import timezone

from perfsee_webhooks.management.documented import DocumentedCommand
from perfsee_webhooks.replay import MAX_BATCH_SIZE
from perfsee_webhooks.sweep import ERROR, Sweep, sweep


class Command(DocumentedCommand):
    """Sweeps once, for cron, or again and again, for a container."""

    help = (
        "Take up deliveries that are due for another attempt, that were abandoned by a process "
        "that died, or that were never handed over, and store those that were kept on the disk "
        "while the database was away. Without a task engine it also processes them. "
        "Have cron run it every minute, or keep it running with --watch."
    )
    examples = ("manage.py perfsee_sweep", "manage.py perfsee_sweep --watch 10")
    exit_statuses = {
        0: "all is taken up, or a signal has ended --watch",
        1: "a delivery has to be tried again, or the spool or a replay has to be seen to",
    }

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare what the command takes."""
        parser.add_argument(
            "--watch",
            type=float,
            metavar="SECONDS",
            help="sweep again after so many seconds, until interrupted",
        )
        parser.add_argument(
            "--batch-size",
            type=int,
            default=100,
            help="how many rows to take up in one transaction (default: %(default)s)",
        )
        parser.add_argument("--json", action="store_true", help="print one JSON object a sweep")

    def handle(self, *, watch: float | None, batch_size: int, json: bool, **_options: Any) -> None:
        """Sweep once, or until a signal asks to stop."""
        if not 1 <= batch_size <= MAX_BATCH_SIZE:
            raise CommandError(f"--batch-size has to be from 1 to {MAX_BATCH_SIZE:,}.")
        if watch is None:
            self._sweep_once(batch_size, as_json=json)
        elif watch <= 0:
            raise CommandError("--watch has to be more than 0 seconds.")
        else:
            self._watch(watch, batch_size, as_json=json)

    def _sweep_once(self, batch_size: int, *, as_json: bool) -> None:
        report = sweep(batch_size=batch_size)
        self._print(report, as_json=as_json)
        if report.endings[ERROR]:
            raise CommandError(f"{report.endings[ERROR]} deliveries have to be tried again.")
        if report.troubles:
            raise CommandError(
                "The spool or a replay has to be seen to: the log says which, and why."
            )

    def _watch(self, seconds: float, batch_size: int, *, as_json: bool) -> None:
        stopped = threading.Event()
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, lambda *_: stopped.set())
        self.stdout.write("Watching.")
        while not stopped.is_set():
            close_old_connections()
            try:
                report = sweep(batch_size=batch_size)
            except DatabaseFailure as error:
                self.stderr.write(f"The database did not answer, trying again: {error}")
            else:
                if report:
                    self._print(report, as_json=as_json)
            stopped.wait(seconds)

    def _print(self, report: Sweep, *, as_json: bool) -> None:
        if as_json:
            line = json.dumps(
                {
                    "found": dict(report.found),
                    "endings": dict(report.endings),
                    "replayed": report.replayed,
                    "drained": report.drained,
                    "troubles": report.troubles,
                }
            )
        elif report.total:
            line = f"Took up {report.total} ({_listed(report.found)}): {_listed(report.endings)}."
        else:
            line = "Nothing is overdue."
            if report.next_attempt_at is not None:
                line += f" What failed is due again from {_local(report.next_attempt_at)} on."
        if report.replayed and not as_json:
            line += f" Went on with replays: opened {report.replayed}."
        if report.drained and not as_json:
            line += f" Stored {report.drained} from the spool."
        self.stdout.write(line)


def _local(moment: datetime) -> str:
    local = timezone.localtime(moment) if timezone.is_aware(moment) else moment
    return f"{local:%Y-%m-%d %H:%M:%S}"


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.most_common())

"""Examine the whole site: can it receive, store and process what Perfsee sends?"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from datetime import timedelta
from typing import Any, Final

from django.core.management.base import CommandError, CommandParser

from perfsee_webhooks.doctor import Level, Result, examine
from perfsee_webhooks.management.documented import DocumentedCommand

MAX_WAIT_SECONDS: Final = 3600
INDENTATION: Final = " " * 10


class Command(DocumentedCommand):
    """Prints what it finds, with what to do about it."""

    help = (
        "Examine settings, database, clock, task engine and sweep, and send a signed delivery "
        "through the site's own URLs and middleware, which is taken back. No receiver is run."
    )
    examples = (
        "manage.py perfsee_doctor --host hooks.example.com",
        "manage.py perfsee_doctor --wait 30 --json",
    )
    exit_statuses = {0: "no error was found", 1: "an error was found"}

    # What they would refuse to start with is what it is here to tell.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare what the command takes."""
        parser.add_argument(
            "--host", help="the name that Perfsee sends to (default: one of ALLOWED_HOSTS)"
        )
        parser.add_argument(
            "--wait",
            type=float,
            default=5,
            metavar="SECONDS",
            help="how long a worker may take to run a task (default: %(default)s)",
        )
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *, host: str | None, wait: float, json: bool, **_options: Any) -> None:
        """Examine the site."""
        if not 0 <= wait <= MAX_WAIT_SECONDS:
            raise CommandError(f"--wait has to be from 0 to {MAX_WAIT_SECONDS} seconds.")
        results = []
        for result in examine(host=host, wait=timedelta(seconds=wait)):
            results.append(result)
            if not json:
                self.stdout.write(_written(result))
        if json:
            self.stdout.write(_as_json(results))
        errors = sum(result.level == Level.ERROR for result in results)
        if errors:
            raise CommandError(f"{errors} error{'' if errors == 1 else 's'} found.")


def _written(result: Result) -> str:
    line = f"{result.level:<8}  {result.topic}: {result.message}"
    return f"{line}\n{INDENTATION}{result.advice}" if result.advice else line


def _as_json(results: Iterable[Result]) -> str:
    found = [asdict(result) for result in results]
    levels = {result["level"] for result in found}
    worst = next(level for level in reversed(Level) if level in levels)
    return json.dumps({"worst": worst, "results": found})

"""Print deliveries as they come in."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.core.management.color import Style, no_style
from django.db import Error as DatabaseFailure
from django.db import close_old_connections
from django.utils import timezone

from perfsee_webhooks.export import Row, as_json
from perfsee_webhooks.management.documented import DocumentedCommand
from perfsee_webhooks.management.following import Follower
from perfsee_webhooks.management.interrupting import interruptible, until_nobody_reads
from perfsee_webhooks.management.selecting import add_selection, selection_of
from perfsee_webhooks.models import Delivery
from perfsee_webhooks.text import one_line

MAX_LINE_LENGTH = 1000
MAX_SECONDS = 3600


class Command(DocumentedCommand):
    """Prints the last deliveries, and then each that comes in, until interrupted."""

    help = (
        "Print the last deliveries, and then each one as it comes in, until interrupted. "
        "With --state it prints those that are in such a state, and each that is seen to enter it."
    )
    examples = (
        "manage.py perfsee_tail --project web --settled",
        "manage.py perfsee_tail --state dead --lines 0",
        "manage.py perfsee_tail --event 'bundle:*' --json | jq .summary",
    )
    exit_statuses = {
        0: "it was interrupted, or its reader has gone",
        1: "the database did not answer at the start",
    }

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare what the command takes."""
        add_selection(parser)
        parser.add_argument(
            "--lines",
            type=int,
            default=10,
            help="how many of the last ones are printed first (default: %(default)s)",
        )
        parser.add_argument(
            "--every",
            type=float,
            default=1,
            metavar="SECONDS",
            help="how often it looks for more (default: %(default)s)",
        )
        parser.add_argument(
            "--settled", action="store_true", help="print each once more when it is settled"
        )
        parser.add_argument(
            "--json", action="store_true", help="print one JSON object a line, as perfsee_export"
        )

    def handle(
        self, *, lines: int, every: float, settled: bool, json: bool, **options: Any
    ) -> None:
        """Print what is there, and follow it."""
        if lines < 0:
            raise CommandError("--lines has to be 0 or more.")
        if not 0 < every <= MAX_SECONDS:
            raise CommandError(f"--every has to be more than 0 and at most {MAX_SECONDS} seconds.")
        style = self.style if self.stdout.isatty() or options["force_color"] else no_style()
        with until_nobody_reads(self.stdout), interruptible() as stopped:
            try:
                follower = Follower(selection_of(options), settled=settled)
                self._print(follower.latest(lines), None if json else style)
            except DatabaseFailure as error:
                raise CommandError(f"The database did not answer: {error}") from error
            is_lost = False
            while not stopped.wait(every):
                close_old_connections()
                try:
                    self._print(follower.look(), None if json else style)
                except DatabaseFailure as error:
                    if not is_lost:
                        self.stderr.write(f"The database did not answer, trying again: {error}")
                    is_lost = True
                else:
                    if is_lost:
                        self.stderr.write("The database answers again.")
                    is_lost = False

    def _print(self, rows: Iterable[Row], style: Style | None) -> None:
        """Print rows as JSON, or in a style for a person."""
        for row in rows:
            self.stdout.write(as_json(row) if style is None else _line_of(row, style))
        self.stdout.flush()


def _line_of(row: Row, style: Style) -> str:
    state = one_line(row["state"], MAX_LINE_LENGTH)
    paint = {
        Delivery.State.SUCCEEDED: style.SUCCESS,
        Delivery.State.FAILED: style.WARNING,
        Delivery.State.DEAD: style.ERROR,
    }.get(row["state"], str)
    words = (f"{row['event_type']:<29}", row["project"], row["summary"], row["delivery_id"])
    rest = one_line("  ".join(filter(None, words)), MAX_LINE_LENGTH)
    return f"{_local(row['settled_at'] or row['received_at'])}  {paint(f'{state:<10}')}  {rest}"


def _local(moment: datetime) -> str:
    local = timezone.localtime(moment) if timezone.is_aware(moment) else moment
    return f"{local:%Y-%m-%d %H:%M:%S}"

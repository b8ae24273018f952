"""Write deliveries as NDJSON or CSV."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import Error as DatabaseFailure

from perfsee_webhooks.export import Export, Format
from perfsee_webhooks.management.documented import DocumentedCommand
from perfsee_webhooks.management.interrupting import until_nobody_reads
from perfsee_webhooks.management.selecting import add_selection, selection_of


class Command(DocumentedCommand):
    """Writes to a file, or to the standard output for another program to read."""

    help = (
        "Write deliveries as NDJSON, a JSON object a line, or as CSV. It takes little memory, "
        "however many there are. What comes in meanwhile is not waited for."
    )
    examples = (
        "manage.py perfsee_export --format csv --output deliveries.csv",
        "manage.py perfsee_export --state dead --with-body | gzip > dead.ndjson.gz",
    )
    exit_statuses = {
        0: "all is written, or the reader of the output has gone",
        1: "it broke off: what is written is not complete",
    }

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare what the command takes."""
        add_selection(parser)
        parser.add_argument(
            "--format",
            choices=[str(name) for name in Format],
            default=str(Format.NDJSON),
            help="what to write (default: %(default)s)",
        )
        parser.add_argument(
            "--with-body", action="store_true", help="with the exact bodies, in NDJSON"
        )
        parser.add_argument(
            "--output", type=Path, metavar="FILE", help="write to a file, which is replaced"
        )

    def handle(
        self,
        *,
        format: str,  # noqa: A002  # the name of the option
        with_body: bool,
        output: Path | None,
        **options: Any,
    ) -> None:
        """Write all that is selected."""
        deliveries = selection_of(options).deliveries()
        try:
            export = Export(deliveries=deliveries, format=Format(format), with_body=with_body)
        except ValueError as error:
            raise CommandError(str(error), returncode=2) from error
        try:
            with until_nobody_reads(self.stdout), self._opened(output) as file:
                for chunk in export.chunks():
                    file.write(chunk)
        except OSError as error:
            raise CommandError(f"It could not be written: {error}") from error
        except DatabaseFailure as error:
            raise CommandError(f"The database did not answer: {error}") from error

    def _opened(self, output: Path | None) -> AbstractContextManager[Any]:
        if output is not None:
            return output.open("w", encoding="utf-8", newline="")
        stdout = self.stdout._out
        # What it writes is the same in each locale and on each system.
        if hasattr(stdout, "reconfigure"):
            stdout.reconfigure(encoding="utf-8", newline="")
        return nullcontext(stdout)

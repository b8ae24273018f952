"""Commands whose help ends with examples and with what each exit status means."""

from __future__ import annotations

import textwrap
from argparse import RawDescriptionHelpFormatter
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from django.core.management.base import BaseCommand, CommandParser, DjangoHelpFormatter

_WIDTH: Final = 79


class _HelpFormatter(DjangoHelpFormatter, RawDescriptionHelpFormatter):
    """Leaves the lines at the end as they are written, and Django's own options at the end."""


class DocumentedCommand(BaseCommand):
    """A command that shows how it is called.

    examples:      command lines, as a person types them
    exit_statuses: what a status other than 0 and 2 means; it may say more of 0
    """

    examples: ClassVar[tuple[str, ...]]
    exit_statuses: ClassVar[Mapping[int, str]]

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """Return the parser, with examples and exit statuses below the options."""
        parser = super().create_parser(
            prog_name, subcommand, epilog=self._epilog(), formatter_class=_HelpFormatter, **kwargs
        )
        parser.description = textwrap.fill(self.help, _WIDTH)
        return parser

    def _epilog(self) -> str:
        statuses = {0: "all is done", **self.exit_statuses, 2: "the arguments make no sense"}
        return "\n".join(
            (
                "Examples:",
                *(f"  {example}" for example in self.examples),
                "",
                "Exit statuses:",
                *(f"  {status}  {statuses[status]}" for status in sorted(statuses)),
            )
        )

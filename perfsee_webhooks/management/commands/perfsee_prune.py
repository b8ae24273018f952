"""Remove old bodies and old rows, as the settings say."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.template.defaultfilters import pluralize
from django.utils import timezone

from perfsee_webhooks import pruning
from perfsee_webhooks.conf import webhook_settings
from perfsee_webhooks.management.documented import DocumentedCommand
from perfsee_webhooks.management.progress import progress_on
from perfsee_webhooks.replay import MAX_BATCH_SIZE


class Command(DocumentedCommand):
    """Prunes in batches, each of them a transaction of its own."""

    help = (
        "Remove the bytes of deliveries older than KEEP_BODIES, and deliveries older than "
        "KEEP_ROWS with the history of their runs. What is not settled stays. "
        "Have cron run it every night."
    )
    examples = ("manage.py perfsee_prune --dry-run", "manage.py perfsee_prune")
    exit_statuses = {1: "the database did not answer; what was removed so far stays removed"}

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare what the command takes."""
        parser.add_argument("--dry-run", action="store_true", help="only say how many there are")
        parser.add_argument(
            "--batch-size",
            type=int,
            default=pruning.BATCH_SIZE,
            help="how many rows are pruned in one transaction (default: %(default)s)",
        )
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *, dry_run: bool, batch_size: int, json: bool, **_options: Any) -> None:
        """Prune rows first: their bodies go with them."""
        if not 1 <= batch_size <= MAX_BATCH_SIZE:
            raise CommandError(f"--batch-size has to be from 1 to {MAX_BATCH_SIZE:,}.")
        now = timezone.now()
        rows, bodies = pruning.old_rows(now).count(), pruning.old_bodies(now).count()
        if not dry_run:
            rows = self._prune(pruning.prune_rows, rows, batch_size, is_silent=json)
            bodies = self._prune(pruning.prune_bodies, bodies, batch_size, is_silent=json)
        self.stdout.write(_written(rows, bodies, dry_run=dry_run, as_json=json))

    def _prune(
        self, prune: Callable[..., int], total: int, batch_size: int, *, is_silent: bool
    ) -> int:
        if is_silent:
            return prune(batch_size=batch_size, show=lambda _done: None)
        with progress_on(self.stdout, total) as show:
            return prune(batch_size=batch_size, show=show)


def _written(rows: int, bodies: int, *, dry_run: bool, as_json: bool) -> str:
    if as_json:
        return json.dumps({"rows": rows, "bodies": bodies, "dry_run": dry_run})
    would = "Would remove" if dry_run else "Removed"
    return (
        f"{would} {rows} deliver{pluralize(rows, 'y,ies')} ({_older(webhook_settings.keep_rows)}), "
        f"and the bytes of {bodies} more ({_older(webhook_settings.keep_bodies)})."
    )


def _older(age: timedelta | None) -> str:
    return "kept for ever" if age is None else f"older than {age}"

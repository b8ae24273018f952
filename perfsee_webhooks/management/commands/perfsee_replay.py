"""Plan a replay, try it out, or carry it out."""

from __future__ import annotations

import json
import threading
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import router
from django.template.defaultfilters import pluralize
from django.utils import timezone

from perfsee_webhooks import replay as replaying
from perfsee_webhooks.management.documented import DocumentedCommand
from perfsee_webhooks.management.interrupting import interruptible
from perfsee_webhooks.management.progress import progress_on
from perfsee_webhooks.management.replay_report import lines_of, outcome, plan_as_json, rehearsed
from perfsee_webhooks.management.selecting import add_selection, selection_of
from perfsee_webhooks.models import Delivery, ReceiverRun, Replay


class Command(DocumentedCommand):
    """Shows what a replay would do, and with --yes does it."""

    help = "Run stored deliveries again. Without --yes it only shows the plan."
    examples = (
        "manage.py perfsee_replay --state dead --project web",
        "manage.py perfsee_replay --state dead --project web --yes --reason 'it is mended'",
        "manage.py perfsee_replay --event 'bundle:*' --from 2026-11-24T12:00:00 --dry-run",
    )
    exit_statuses = {1: "a dry run failed, or the replay was interrupted or could not begin"}

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare what the command takes."""
        add_selection(parser)
        to_whom = parser.add_argument_group("to which of their receivers")
        to_whom.add_argument("--all", action="store_true", help="also those that have succeeded")
        to_whom.add_argument(
            "--receiver", action="append", default=[], help="only this one, by name; repeatable"
        )
        how = parser.add_argument_group("how many, and how fast")
        how.add_argument("--limit", type=int, help="at most so many, the oldest first")
        how.add_argument(
            "--batch-size",
            type=int,
            default=replaying.BATCH_SIZE,
            help="how many are opened at once (default: %(default)s)",
        )
        how.add_argument("--per-minute", type=int, help="open at most so many in a minute")
        how.add_argument("--reason", default="", help="kept with the replay")
        how.add_argument(
            "--requested-by", default="perfsee_replay", help="kept too (default: %(default)s)"
        )
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--plan", action="store_true", help="show the plan (the default)")
        what.add_argument("--dry-run", action="store_true", help="run, and roll back what was done")
        what.add_argument("--yes", action="store_true", help="carry it out")
        what.add_argument("--resume", type=int, metavar="REPLAY", help="go on with a replay")
        parser.add_argument("--json", action="store_true", help="print JSON, one object a line")

    def handle(self, *, dry_run: bool, yes: bool, resume: int | None, **options: Any) -> None:
        """Show, try out, carry out, or go on."""
        as_json: bool = options["json"]
        if resume is not None:
            self._carry_out(_resumed(resume), as_json=as_json)
            return
        try:
            selection, order = selection_of(options), _order_of(options)
        except ValueError as error:
            raise CommandError(str(error)) from error
        if dry_run:
            self._rehearse(selection, order, as_json=as_json)
        elif yes:
            reason, requested_by = options["reason"], options["requested_by"]
            started = replaying.start(selection, order, requested_by=requested_by, reason=reason)
            self._carry_out(started, as_json=as_json)
        else:
            self._show(replaying.plan(selection, order), selection, as_json=as_json)

    def _show(self, plan: replaying.Plan, selection: replaying.Selection, *, as_json: bool) -> None:
        lines = [json.dumps(plan_as_json(plan))] if as_json else lines_of(plan, selection)
        for line in lines:
            self.stdout.write(line)

    def _rehearse(
        self, selection: replaying.Selection, order: replaying.Order, *, as_json: bool
    ) -> None:
        if not as_json:
            self.stdout.write(
                "The databases are rolled back. What receivers do elsewhere is done, and is not "
                "undone."
            )
        failed = 0
        only_settled = bool(order.only)
        found = selection.deliveries().replayable(timezone.now(), only_settled=only_settled)
        for primary_key in list(found.values_list("pk", flat=True)[: order.limit]):
            delivery = Delivery.objects.on_primary().get(pk=primary_key)
            for tried in replaying.rehearse(
                delivery, receivers=order.receivers, only=order.only
            ).runs:
                failed += tried.run.outcome == ReceiverRun.Outcome.FAILED
                self.stdout.write(rehearsed(delivery, tried, as_json=as_json))
        if failed:
            raise CommandError(f"{failed} run{pluralize(failed)} failed.")

    def _carry_out(self, replay: Replay, *, as_json: bool) -> None:
        stdout = self.stdout
        with interruptible() as stopped:
            if as_json:
                _carry_out(replay, stopped, lambda _done: None)
            else:
                with progress_on(stdout, replaying.total_of(replay)) as show:
                    _carry_out(replay, stopped, show)
        if stopped.is_set() and replay.pause():
            raise CommandError(
                f"Replay {replay.pk} is paused. Go on with: perfsee_replay --resume {replay.pk}"
            )
        stdout.write(outcome(replay, as_json=as_json))
        if replay.state != Replay.State.FINISHED:
            raise CommandError(f"Somebody else has {replay.state} it.")


def _carry_out(replay: Replay, stopped: threading.Event, show: Any) -> None:
    """Carry on with a replay until it ends, somebody pauses it, or a signal asks to stop."""
    while not stopped.is_set():
        replaying.carry_on(replay.pk, may_go_on=lambda: not stopped.is_set())
        replay.refresh_from_db(using=router.db_for_write(Replay))
        show(replay.looked_at)
        if replay.state != Replay.State.RUNNING:
            return
        stopped.wait(max((replay.next_batch_at - timezone.now()).total_seconds(), 0))


def _resumed(primary_key: int) -> Replay:
    replay = Replay.objects.on_primary().filter(pk=primary_key).first()
    if replay is None:
        raise CommandError(f"There is no replay {primary_key}.")
    if replay.state != Replay.State.RUNNING and not replay.resume():
        raise CommandError(f"Replay {primary_key} is {replay.state}.")
    return replay


def _order_of(options: dict[str, Any]) -> replaying.Order:
    return replaying.Order(
        receivers=Replay.Receivers.ALL if options["all"] else Replay.Receivers.FAILED,
        only=tuple(options["receiver"]),
        **{name: options[name] for name in ("limit", "batch_size", "per_minute")},
    )

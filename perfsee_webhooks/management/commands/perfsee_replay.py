"""Plan a replay, try it out, or carry it out."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import router
from django.template.defaultfilters import pluralize
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from perfsee_webhooks import replay as replaying
from perfsee_webhooks.management.progress import progress_on
from perfsee_webhooks.models import Delivery, ReceiverRun, Replay

_WAITING = "they wait for an attempt of all their receivers, or for another replay"


class Command(BaseCommand):
    """Shows what a replay would do, and with --yes does it."""

    help = (
        "Run stored deliveries again. Without --yes it only shows the plan. Exits with 1 if a dry "
        "run fails, or if it was interrupted. "
        "Example: manage.py perfsee_replay --state dead --project web --yes --reason 'it is mended'"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare what the command takes."""
        which = parser.add_argument_group("which deliveries (every one, if nothing is said)")
        which.add_argument("--id", action="append", default=[], help="its id; repeatable")
        which.add_argument("--event", default="", help="a pattern such as 'bundle:*,lab:*'")
        which.add_argument("--project", default="", help="the slug of its project")
        which.add_argument("--hook", default="", help="the id of its hook")
        which.add_argument(
            "--state", action="append", default=[], choices=Delivery.State.values, help="repeatable"
        )
        which.add_argument(
            "--from", dest="received_from", type=_moment, help="received then or later"
        )
        which.add_argument("--before", dest="received_before", type=_moment, help="received before")
        which.add_argument("--failure-group", default="", help="a key from the admin's overview")
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
            selection, order = _selection_of(options), _order_of(options)
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
        lines = [json.dumps(_plan_as_json(plan))] if as_json else _lines_of(plan, selection)
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
                self.stdout.write(_rehearsed(delivery, tried, as_json=as_json))
        if failed:
            raise CommandError(f"{failed} run{pluralize(failed)} failed.")

    def _carry_out(self, replay: Replay, *, as_json: bool) -> None:
        stdout = self.stdout
        with _interruptible() as stopped:
            if as_json:
                _carry_out(replay, stopped, lambda _done: None)
            else:
                with progress_on(stdout, replay.selected) as show:
                    _carry_out(replay, stopped, show)
        if stopped.is_set() and replay.pause():
            raise CommandError(
                f"Replay {replay.pk} is paused. Go on with: perfsee_replay --resume {replay.pk}"
            )
        stdout.write(_outcome(replay, as_json=as_json))
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


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """Yield an event that is set when a signal asks to stop, once what is being run has ended."""
    stopped = threading.Event()
    before = {name: signal.getsignal(name) for name in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for name, handler in before.items():
            signal.signal(name, handler)

    def stop(*_: Any) -> None:
        stopped.set()
        restore()  # whoever asks once more does not want to wait

    for name in before:
        signal.signal(name, stop)
    try:
        yield stopped
    finally:
        restore()


def _moment(text: str) -> datetime:
    moment = parse_datetime(text)
    if moment is None:
        raise ValueError(text)
    if settings.USE_TZ and timezone.is_naive(moment):
        return timezone.make_aware(moment)
    return moment


_moment.__name__ = "moment, as in 2026-11-24T12:00:00"


def _resumed(primary_key: int) -> Replay:
    replay = Replay.objects.on_primary().filter(pk=primary_key).first()
    if replay is None:
        raise CommandError(f"There is no replay {primary_key}.")
    if replay.state != Replay.State.RUNNING and not replay.resume():
        raise CommandError(f"Replay {primary_key} is {replay.state}.")
    return replay


def _selection_of(options: dict[str, Any]) -> replaying.Selection:
    return replaying.Selection(
        primary_keys=_primary_keys(options["id"]) if options["id"] else None,
        states=tuple(options["state"]),
        **{
            name: options[name]
            for name in (
                "event",
                "project",
                "hook",
                "received_from",
                "received_before",
                "failure_group",
            )
        },
    )


def _primary_keys(delivery_ids: list[str]) -> tuple[int, ...]:
    found = Delivery.objects.on_primary().filter(delivery_id__in=delivery_ids)
    keys = dict(found.values_list("delivery_id", "pk"))
    missing = [delivery_id for delivery_id in delivery_ids if delivery_id not in keys]
    if missing:
        raise CommandError(f"There is no delivery {missing[0]}.")
    return tuple(keys.values())


def _order_of(options: dict[str, Any]) -> replaying.Order:
    return replaying.Order(
        receivers=Replay.Receivers.ALL if options["all"] else Replay.Receivers.FAILED,
        only=tuple(options["receiver"]),
        **{name: options[name] for name in ("limit", "batch_size", "per_minute")},
    )


def _plan_as_json(plan: replaying.Plan) -> dict[str, Any]:
    counts = ("matching", "selected", "opened", "runs", "again", "pruned", "running", "waiting")
    return {
        **{name: getattr(plan, name) for name in counts},
        "receivers": [asdict(receiver) for receiver in plan.receivers],
        "gone": dict(plan.gone),
    }


def _lines_of(plan: replaying.Plan, selection: replaying.Selection) -> Iterator[str]:
    yield f"Chosen: {', '.join(selection.described)}."
    yield (
        f"{plan.opened} deliver{pluralize(plan.opened, 'y,ies')} would be run again, with "
        f"{plan.runs} run{pluralize(plan.runs)} of receivers."
    )
    for receiver in plan.receivers:
        again = f", {receiver.again} of them after success" if receiver.again else ""
        yield f"  {receiver.runs:>7}  {receiver.label}{again}"
    left_alone = {
        "left out by --limit": plan.left_out,
        "left alone: being run just now": plan.running,
        f"left alone: {_WAITING}": plan.waiting,
        "left alone: their bytes have been pruned": plan.pruned,
    }
    yield from (f"{count} {why}." for why, count in left_alone.items() if count)
    for label, count in plan.gone:
        yield f"{label} has run on {count} of them and is not connected any more."
    if plan.opened:
        yield "Nothing has been run. Add --dry-run to try it out, --yes to carry it out."


def _rehearsed(delivery: Delivery, tried: replaying.RehearsedRun, *, as_json: bool) -> str:
    run = tried.run
    if as_json:
        return json.dumps(
            {
                "delivery": delivery.delivery_id,
                "receiver": run.receiver,
                "outcome": run.outcome,
                "exception": run.exception,
                "traceback": run.traceback,
                "duration_ms": round(run.duration_ms, 3),
                "statements": tried.statements,
                "statement_ms": round(tried.statement_ms, 3),
                "callbacks": tried.callbacks,
            }
        )
    line = (
        f"{delivery.delivery_id}  {run.receiver}  {run.outcome}  {run.duration_ms:.1f} ms, "
        f"{tried.statements} SQL statements in {tried.statement_ms:.1f} ms"
    )
    if tried.callbacks:
        line += f", not called: {', '.join(tried.callbacks)}"
    return f"{line}\n{run.traceback}" if run.traceback else line


def _outcome(replay: Replay, *, as_json: bool) -> str:
    states = Delivery.objects.on_primary().filter(replay=replay).counted_by("state")
    if as_json:
        return json.dumps(
            {
                "replay": replay.pk,
                "state": replay.state,
                "selected": replay.selected,
                "opened": replay.accepted,
                "skipped": replay.skipped,
                "deliveries": states,
            }
        )
    now = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    left_alone = f", {replay.skipped} left alone" if replay.skipped else ""
    return (
        f"Replay {replay.pk} is {replay.state}: {replay.accepted} opened again{left_alone}. "
        f"They are now: {now or 'none'}."
    )

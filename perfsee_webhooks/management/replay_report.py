"""What the command of replays prints, for a person or as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from django.template.defaultfilters import pluralize

from perfsee_webhooks import replay as replaying
from perfsee_webhooks.models import Delivery, Replay
from perfsee_webhooks.models.replay import counted

_WAITING = "they wait for an attempt of all their receivers, or for another replay"


def plan_as_json(plan: replaying.Plan) -> dict[str, Any]:
    """Return a plan as JSON takes it."""
    of_all = ("matching", "selected", "looked_at")
    of_those = ("opened", "runs", "again", "pruned", "running", "waiting")
    return {
        **{name: getattr(plan, name) for name in (*of_all, *of_those)},
        "receivers": [asdict(receiver) for receiver in plan.receivers],
        "gone": dict(plan.gone),
    }


def lines_of(plan: replaying.Plan, selection: replaying.Selection) -> Iterator[str]:
    """Yield the lines that tell a person of a plan."""
    yield f"Chosen: {', '.join(selection.described)}."
    if plan.reaches_further:
        yield (
            f"{counted(plan.selected).capitalize()} are selected. What follows is about the first "
            f"{plan.looked_at}; those behind them are run as well."
        )
    yield (
        f"{plan.opened} deliver{pluralize(plan.opened, 'y,ies')} would be run again, with "
        f"{plan.runs} run{pluralize(plan.runs)} of receivers."
    )
    if plan.opened and plan.receivers and not plan.runs:
        yield "No receiver has anything left to do there: --receivers all runs them all the same."
    for receiver in plan.receivers:
        again = f", {receiver.again} of them after success" if receiver.again else ""
        yield f"  {receiver.runs:>7}  {receiver.label}{again}"
    left_alone = {
        "left alone: being run just now": plan.running,
        f"left alone: {_WAITING}": plan.waiting,
        "left alone: their bytes have been pruned": plan.pruned,
    }
    if plan.left_out:
        yield f"--limit takes {plan.selected} of {counted(plan.matching)} that match."
    yield from (f"{count} {why}." for why, count in left_alone.items() if count)
    for label, count in plan.gone:
        yield f"{label} has run on {count} of them and is not connected any more."
    if plan.opened or plan.reaches_further:
        yield "Nothing has been run. Add --dry-run to try it out, --yes to carry it out."


def rehearsed(delivery: Delivery, tried: replaying.RehearsedRun, *, as_json: bool) -> str:
    """Return what became of a run that was tried out."""
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


def outcome(replay: Replay, *, as_json: bool) -> str:
    """Return what became of a replay, and how its deliveries stand now."""
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

"""The command: the same choices, a plan by default, and what it prints."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from datetime import UTC, datetime
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from perfsee_webhooks import events
from perfsee_webhooks.management import progress
from perfsee_webhooks.models import Delivery, ReceiverRun, Replay
from perfsee_webhooks.processing import process
from perfsee_webhooks.replay import Selection, order

from .figures import ran
from .sites import ROOT, running_environment
from .test_replay import dead, fresh, lease, started, store

pytestmark = pytest.mark.django_db


def perfsee_replay(*arguments, **options):
    written = StringIO()
    call_command("perfsee_replay", *arguments, stdout=written, **options)
    return written.getvalue()


def printed_json(*arguments):
    return [json.loads(line) for line in perfsee_replay(*arguments, "--json").splitlines()]


@pytest.fixture
def receivers(connect):
    return connect(name="good"), connect(name="bad", side_effect=ValueError("it broke"))


def test_plan__is_what_it_does_by_itself(receivers):
    dead(3)
    written = perfsee_replay("--state", "dead")
    assert written == (
        "Chosen: state dead.\n"
        "3 deliveries would be run again, with 6 runs of receivers.\n"
        "        3  tests.bad\n"
        "        3  tests.good\n"
        "Nothing has been run. Add --dry-run to try it out, --yes to carry it out.\n"
    )
    assert perfsee_replay("--state=dead", "--plan") == written
    assert not Replay.objects.exists()
    assert receivers[0].call_count == 0


def test_plan__says_what_is_left_alone(receivers):
    pruned, running, _free, _more = dead(4)
    Delivery.objects.filter(pk=pruned.pk).update(body_pruned_at=timezone.now())
    lease(running)
    ran(pruned, "tests.gone")
    written = perfsee_replay("--limit=3")
    assert "1 delivery would be run again" in written
    assert "--limit takes 3 of 4 that match." in written
    assert "1 left alone: being run just now." in written
    assert "1 left alone: their bytes have been pruned." in written
    assert "tests.gone has run on 1 of them and is not connected any more." in written


def test_plan__of_many_says_which_it_is_about(receivers):
    dead(1001)
    written = perfsee_replay()
    assert (
        "1001 are selected. What follows is about the first 1000; those behind them are run as "
        "well.\n1000 deliveries would be run again, with 2000 runs of receivers." in written
    )
    assert "are selected" not in perfsee_replay("--limit=1000")
    Delivery.objects.filter(pk__lt=Delivery.objects.latest("pk").pk).update(
        body_pruned_at=timezone.now()
    )
    assert "--yes to carry it out" in perfsee_replay()
    assert "--yes to carry it out" not in perfsee_replay("--limit=1000")


def test_plan__as_json(receivers):
    dead(2)
    assert printed_json("--receiver=tests.good") == [
        {
            "matching": 2,
            "selected": 2,
            "looked_at": 2,
            "opened": 2,
            "runs": 2,
            "again": 0,
            "pruned": 0,
            "running": 0,
            "waiting": 0,
            "receivers": [{"label": "tests.good", "runs": 2, "again": 0}],
            "gone": {},
        }
    ]


def test_choice__is_kept_with_the_replay(receivers):
    row = store(events.SOURCE_FINISHED, project="web", hook_id="7", state="dead")
    perfsee_replay(
        f"--id={row.delivery_id}",
        "--event=source:*",
        "--project=web",
        "--hook=7",
        "--state=dead",
        "--state=failed",
        "--from=2026-01-01T00:00:00",
        "--before=2099-01-01T00:00:00+00:00",
        "--all",
        "--receiver=tests.good",
        "--limit=5",
        "--batch-size=2",
        "--reason=it is mended",
        "--requested-by=ann",
        "--yes",
    )
    kept = Replay.objects.get()
    assert Selection.from_json(kept.selection) == Selection(
        primary_keys=(row.pk,),
        event="source:*",
        project="web",
        hook="7",
        states=("dead", "failed"),
        received_from=datetime(2026, 1, 1, tzinfo=UTC),
        received_before=datetime(2099, 1, 1, tzinfo=UTC),
    )
    assert (kept.only, kept.receivers, kept.batch_size) == (["tests.good"], "all", 2)
    assert (kept.reason, kept.requested_by) == ("it is mended", "ann")
    assert (kept.state, kept.accepted) == ("finished", 1)


def test_failure_group__can_be_chosen(receivers):
    row, _other = store(), store()
    process(row.pk)
    group = ReceiverRun.objects.failures().get().failure_group
    assert printed_json(f"--failure-group={group}")[0]["selected"] == 1


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--event=,"], "names no event"),
        (["--id=nothing"], "No delivery has the id nothing."),
        (["--receiver=tests.goood"], r"Did you mean tests\.good\?"),
        (["--limit=0"], "limit has to be 1 or more"),
        (["--batch-size=0"], "batch_size has to be 1 or more"),
        (["--batch-size=10001"], "batch_size has to be 10,000 or less"),
        (["--from=yesterday"], "invalid moment, as in 2026-11-24T12:00:00 value: 'yesterday'"),
        (["--state=broken"], "invalid choice: 'broken'"),
        (["--yes", "--dry-run"], "not allowed with argument"),
        (["--resume=99"], "There is no replay 99."),
    ],
)
def test_mistake__is_told(receivers, arguments, error):
    with pytest.raises(CommandError, match=error):
        perfsee_replay(*arguments)
    assert not Replay.objects.exists()


def test_dry_run__shows_what_was_taken_back(receivers):
    row = store(state="dead")
    written = StringIO()
    with pytest.raises(CommandError, match=r"1 run failed\."):
        call_command("perfsee_replay", "--dry-run", stdout=written)
    lines = written.getvalue().splitlines()
    assert lines[0].startswith("The databases are rolled back. What receivers do elsewhere is done")
    assert lines[1].startswith(f"{row.delivery_id}  tests.good  succeeded  ")
    assert "ValueError: it broke" in lines
    assert fresh(row).state == "dead"
    assert not ReceiverRun.objects.exists()


def test_dry_run__as_json(receivers):
    dead(3)
    first, second = printed_json("--dry-run", "--receiver=tests.good", "--limit=2")
    assert (first["receiver"], first["outcome"], first["statements"]) == (
        "tests.good",
        "succeeded",
        0,
    )
    assert first["delivery"] != second["delivery"]


def test_yes__carries_it_out(receivers):
    dead(12)
    receivers[1].side_effect = None
    written = perfsee_replay("--yes", "--batch-size=5")
    kept = Replay.objects.get()
    assert written == (
        "5 of 12\n10 of 12\n12 of 12\n"
        f"Replay {kept.pk} is finished: 12 opened again. They are now: 12 succeeded.\n"
    )
    assert receivers[0].call_count == 12


def test_yes__counts_what_was_too_many_to_be_counted_before(receivers, monkeypatch):
    monkeypatch.setattr(order, "MAX_COUNTED", 3)
    dead(4)
    assert perfsee_replay("--yes", "--batch-size=2").startswith("2 of 4\n4 of 4\n")
    assert Replay.objects.get().selected == 4


def test_yes__as_json(receivers):
    rows = dead(2)
    lease(rows[0])
    kept = printed_json("--yes")
    assert kept == [
        {
            "replay": Replay.objects.get().pk,
            "state": "finished",
            "selected": 2,
            "opened": 1,
            "skipped": 1,
            "deliveries": {"failed": 1},
        }
    ]


def test_yes__says_what_was_left_alone(receivers):
    lease(dead(1)[0])
    assert "0 opened again, 1 left alone. They are now: none." in perfsee_replay("--yes")


def test_yes__waits_for_its_pace(receivers):
    dead(2)
    perfsee_replay("--yes", "--per-minute=600", "--batch-size=1")
    assert Replay.objects.get().accepted == 2


def test_resume__goes_on_with_one_that_was_paused(receivers):
    dead(2)
    asked = started(batch_size=1)
    asked.pause()
    assert f"Replay {asked.pk} is finished: 2 opened again." in perfsee_replay(
        f"--resume={asked.pk}"
    )
    with pytest.raises(CommandError, match=f"Replay {asked.pk} is finished"):
        perfsee_replay(f"--resume={asked.pk}")


def test_pause__from_elsewhere_ends_it(receivers):
    dead(3)

    def pause(**kwargs):
        Replay.objects.get().pause()

    receivers[0].side_effect = pause
    receivers[1].side_effect = None
    written = StringIO()
    with pytest.raises(CommandError, match=r"Somebody else has paused it\."):
        call_command("perfsee_replay", "--yes", "--batch-size=1", stdout=written)
    assert "is paused: 1 opened again. They are now: 1 succeeded." in written.getvalue()


def test_interrupt__pauses_it(receivers):
    dead(3)

    def interrupt(**kwargs):
        signal.raise_signal(signal.SIGTERM)

    receivers[0].side_effect = interrupt
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(CommandError, match=r"is paused. Go on with: perfsee_replay --resume \d+"):
        perfsee_replay("--yes", "--batch-size=2")
    assert (Replay.objects.get().state, Replay.objects.get().accepted) == ("paused", 2)
    assert receivers[0].call_count == 1, "it does not wait for the rest of the batch"
    assert Delivery.objects.get(state="received").handed_over_at is None, "the sweep has it at once"
    assert signal.getsignal(signal.SIGTERM) is before


# How far it is


class Terminal(StringIO):
    def isatty(self):
        return True


def test_progress__is_a_bar_on_a_terminal():
    terminal = Terminal()
    with progress.progress_on(terminal, 4) as show:
        show(4)
    assert "4/4" in terminal.getvalue()


def test_progress__is_lines_without_rich(monkeypatch):
    monkeypatch.setitem(sys.modules, "rich.console", None)
    terminal = Terminal()
    with progress.progress_on(terminal, 20) as show:
        for done in (1, 2, 3, 10, 20):
            show(done)
    assert terminal.getvalue() == "2 of 2010 of 2020 of 20"


def test_progress__of_nothing():
    with progress.progress_on(StringIO(), 0) as show:
        show(0)


def test_bar__on_a_real_terminal(site_database_url):
    environment = running_environment(site_database_url, {"TERM": "xterm", "COLUMNS": "100"})
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "manage.py", "perfsee_replay", "--yes"],
        cwd=ROOT,
        env=environment,
        stdout=theirs,
        stderr=subprocess.STDOUT,
    ) as process:
        os.close(theirs)
        written = b""
        while chunk := _read(ours):
            written += chunk
    os.close(ours)
    assert process.returncode == 0, written.decode()
    assert "Deliveries" in written.decode()
    assert "is finished: 0 opened again." in written.decode()


def _read(terminal):
    try:
        return os.read(terminal, 4096)
    except OSError:  # the end of a terminal whose other side was closed
        return b""

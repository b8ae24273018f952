"""The tail: each delivery once, whatever the order of commits, and how the command ends."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from io import StringIO
from urllib.parse import urlsplit

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection
from django.test.utils import CaptureQueriesContext

from perfsee_webhooks.export import COLUMNS
from perfsee_webhooks.management import following
from perfsee_webhooks.management.commands import perfsee_tail
from perfsee_webhooks.management.following import WINDOW, Follower
from perfsee_webhooks.models import Delivery
from perfsee_webhooks.selection import Selection

from . import mariadb
from .figures import came
from .sites import ROOT, Site, running_environment
from .test_export import HOSTILE, NOW, store_many

pytestmark = pytest.mark.django_db


def following_all(count=10, *, settled=False, **chosen):
    follower = Follower(Selection(**chosen), settled=settled)
    return follower, [row["id"] for row in follower.latest(count)]


def seen(follower):
    return [(row["id"], row["state"]) for row in follower.look()]


def become(delivery, state):
    Delivery.objects.filter(pk=delivery.pk).update(state=state)


# What is shown


def test_latest__is_the_last_ones_the_oldest_first():
    _first, second, third = (came(NOW, project="web") for _ in range(3))
    came(NOW, project="docs")
    follower, shown = following_all(2, project="web")
    assert shown == [second.pk, third.pk]
    assert seen(follower) == []
    assert following_all(0)[1] == []


def test_look__shows_each_once_as_it_comes_in():
    came(NOW)
    follower, _ = following_all()
    first, second = came(NOW), came(NOW, "received")
    assert seen(follower) == [(first.pk, "succeeded"), (second.pk, "received")]
    become(second, "succeeded")
    assert seen(follower) == []
    third = came(NOW)
    assert seen(follower) == [(third.pk, "succeeded")]


def test_look__shows_what_is_committed_late_with_a_lower_key():
    low = came(NOW).pk
    Delivery.objects.all().delete()
    came(NOW)
    follower, _ = following_all()
    newer = came(NOW)
    assert seen(follower) == [(newer.pk, "succeeded")]
    late = came(NOW, pk=low)
    assert seen(follower) == [(late.pk, "succeeded")]
    assert seen(follower) == []


def test_look__takes_more_than_a_window_at_once():
    follower, _ = following_all()
    store_many(2 * WINDOW + 1)
    assert len({key for key, _ in seen(follower)}) == 2 * WINDOW + 1
    assert seen(follower) == []
    assert len(follower._seen) <= WINDOW


def test_look__costs_a_few_statements_and_passes_by_what_does_not_match():
    follower, _ = following_all(project="web")
    store_many(2 * WINDOW)
    assert seen(follower) == []
    with CaptureQueriesContext(connection) as context:
        assert seen(follower) == []
    assert len(context) == 2
    assert follower._cursor == Delivery.objects.latest("pk").pk


def test_settled__shows_each_once_more():
    before = came(NOW, "failed")
    follower, _ = following_all(settled=True)
    waiting, done = came(NOW, "received"), came(NOW, "succeeded")
    assert seen(follower) == [(waiting.pk, "received"), (done.pk, "succeeded")]
    become(waiting, "failed")
    assert seen(follower) == []
    become(waiting, "succeeded")
    become(before, "dead")
    assert sorted(seen(follower)) == [(before.pk, "dead"), (waiting.pk, "succeeded")]
    assert seen(follower) == []


def test_state__shows_what_enters_it():
    came(NOW, "succeeded")
    dead, failed = came(NOW, "dead"), came(NOW, "failed")
    follower, shown = following_all(states=("dead",))
    assert shown == [dead.pk]
    new = came(NOW, "received")
    assert seen(follower) == []
    become(failed, "dead")
    become(new, "dead")
    assert sorted(seen(follower)) == [(failed.pk, "dead"), (new.pk, "dead")]
    assert seen(follower) == []


def test_watched__are_bounded():
    follower, _ = following_all(settled=True)
    store_many(WINDOW + 2)
    Delivery.objects.update(state="received")
    seen(follower)
    assert len(follower._watched) == WINDOW
    Delivery.objects.update(state="succeeded")
    assert len(seen(follower)) == WINDOW
    assert follower._watched == {}


# The command


def tail(monkeypatch, *arguments, looks=1, between=lambda: None, **options):
    """Run the command for some looks, and return what it has written."""
    look, left, written = Follower.look, [looks], StringIO()

    def look_once(self):
        left[0] -= 1
        if not left[0]:
            signal.raise_signal(signal.SIGINT)
        between()
        return look(self)

    with monkeypatch.context() as patch:
        patch.setattr(Follower, "look", look_once)
        # It would end the transaction of the test.
        patch.setattr(perfsee_tail, "close_old_connections", lambda: None)
        call_command("perfsee_tail", "--every=0.001", *arguments, stdout=written, **options)
    return written.getvalue()


def test_tail__prints_a_line_each(monkeypatch):
    came(NOW, project="web", summary="first", delivery_id="one")
    written = tail(
        monkeypatch,
        between=lambda: came(NOW, "dead", project="web", summary="last", delivery_id="two"),
    )
    assert written == (
        "2026-11-24 12:00:00  succeeded   bundle:finished                web  first  one\n"
        "2026-11-24 12:00:00  dead        bundle:finished                web  last  two\n"
    )


def test_tail__as_json_is_as_in_the_export(monkeypatch):
    delivery = came(NOW, summary="Größe")
    (line,) = tail(monkeypatch, "--json").splitlines()
    assert tuple(json.loads(line)) == COLUMNS
    assert (json.loads(line)["id"], json.loads(line)["summary"]) == (delivery.pk, "Größe")


def test_tail__prints_nothing_that_a_terminal_obeys(monkeypatch):
    odd = HOSTILE.replace("\0", "").replace("\ud800", "")  # which no database takes
    came(NOW, summary=odd, project=odd, event_type=odd)
    for arguments in ([], ["--json"]):
        written = tail(monkeypatch, *arguments)
        assert len(written.splitlines()) == 1
        assert not set("\x1b\r\u2028\u202e") & {*written}


def test_tail__has_colours_where_they_are_asked_for(monkeypatch):
    came(NOW, "dead", summary="it broke")
    assert "\x1b" not in tail(monkeypatch)
    assert "\x1b[31;1mdead" in tail(monkeypatch, force_color=True)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--lines=-1"], r"--lines has to be 0 or more\."),
        (["--every=0"], r"--every has to be more than 0 and at most 3600 seconds\."),
        (["--every=nan"], r"--every has to be more than 0 and at most 3600 seconds\."),
        (["--event=,"], "names no event"),
    ],
)
def test_mistake__is_told(arguments, error):
    with pytest.raises(CommandError, match=error):
        call_command("perfsee_tail", *arguments)


def test_database__that_is_gone_at_the_start_ends_it(monkeypatch):
    monkeypatch.setattr(following, "_newest_key", fail)
    with pytest.raises(CommandError, match="The database did not answer: the connection is lost"):
        call_command("perfsee_tail")


def test_database__that_is_gone_for_a_moment_is_waited_for(monkeypatch):
    whole, complaints = following._newest_key, StringIO()
    answers = iter([whole, fail, fail, whole])

    def newest_key():
        return next(answers)()

    monkeypatch.setattr(following, "_newest_key", newest_key)
    written = tail(
        monkeypatch, looks=3, between=lambda: came(NOW, summary="late"), stderr=complaints
    )
    assert complaints.getvalue() == (
        "The database did not answer, trying again: the connection is lost\n"
        "The database answers again.\n"
    )
    assert written.count("late") == 3


def fail():
    raise DatabaseError("the connection is lost")


@pytest.fixture
def site(site_database_url):
    site = Site(
        environment=running_environment(
            site_database_url, {"TERM": "xterm", "PYTHONUNBUFFERED": ""}
        )
    )
    come_in(site, "one")
    return site


def come_in(site, name):
    site.query(
        f"Delivery.objects.create(delivery_id='{name}', event_type='bundle:finished', body=b'', "
        "state='dead', received_at='2026-11-24T12:00:00Z').pk"
    )


def started(site, **options):
    return subprocess.Popen(
        [sys.executable, "manage.py", "perfsee_tail", "--skip-checks", "--every=0.05"],
        cwd=ROOT,
        env=site.environment,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
    )


@pytest.mark.parametrize("asked", [signal.SIGINT, signal.SIGTERM])
def test_signal__ends_it_well(site, asked):
    with started(site) as process:
        assert b"  one\n" in process.stdout.readline()
        come_in(site, "two")
        assert b"  two\n" in process.stdout.readline()
        process.send_signal(asked)
        assert process.communicate() == (b"", b"")
    assert process.returncode == 0


def cut_connections(url):
    if connection.vendor == "mysql":
        assert mariadb.end_connections(url)
        return
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
            [urlsplit(url).path.strip("/")],
        )


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has no server to lose")
def test_database__that_has_cut_the_connection_is_asked_again(site):
    with started(site) as process:
        assert b"  one\n" in process.stdout.readline()
        cut_connections(site.environment["DATABASE_URL"])
        come_in(site, "two")
        assert b"  two\n" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
    assert process.returncode == 0


def test_reader__that_goes_ends_it_quietly(site):
    with started(site) as process:
        process.stdout.readline()
        process.stdout.close()
        come_in(site, "two")
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_colours__on_a_real_terminal(site):
    ours, theirs = pty.openpty()
    with started(site, stdout=theirs) as process:
        os.close(theirs)
        written = b""
        while b"\n" not in written:
            written += os.read(ours, 4096)
        process.send_signal(signal.SIGINT)
    os.close(ours)
    assert b"\x1b[31;1mdead      \x1b[0m" in written
    assert process.returncode == 0

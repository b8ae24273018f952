"""Kills the web server, the worker and their database connections while deliveries come in.

However it ends: what was answered 204 is stored, each receiver's effect is there exactly once, and
nothing is left half done. The seed of the run and its figures are printed.
"""

from __future__ import annotations

import os
import random
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import pytest
from django.db import connection

from perfsee_webhooks import sending
from perfsee_webhooks.samples import sample_body

from . import mariadb
from .databases import require_tasks_in_the_database
from .sites import ROOT, SECRET, Site, running_environment

pytestmark = pytest.mark.kill

DELIVERIES = int(os.environ.get("KILL_DELIVERIES", "600"))
SENDERS = 8
APPLICATIONS = {"inline": "example_project.wsgi", "tasks": "tests.fronted:wsgi"}
RECEIVERS = ("write_and_linger", "write_and_fail_sometimes", "write_later")
SETTLE_SECONDS = 300
UNANSWERED = 0
BODY = sample_body("bundle:finished")


@dataclass(kw_only=True)
class Victim:
    """A process that is killed now and then, and started again."""

    command: list[str]
    environment: dict[str, str]
    process: subprocess.Popen[bytes] | None = None
    kills: int = 0

    def start(self) -> None:
        """Start it in a group of its own, so that its children die with it."""
        self.process = subprocess.Popen(
            self.command,
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def kill(self) -> None:
        """Kill it and all its children, without a chance to tidy up."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def kill_and_restart(self) -> None:
        """Kill it, and start it again."""
        self.kills += 1
        self.kill()
        self.start()

    def kill_a_child(self) -> None:
        """Kill one of its children, which it starts again by itself."""
        assert self.process is not None
        listed = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(self.process.pid)],
            capture_output=True,
            check=False,
            text=True,
        )
        for child in listed.stdout.split()[:1]:
            self.kills += 1
            os.kill(int(child), signal.SIGKILL)


@dataclass(kw_only=True)
class Chaos:
    """Does harm at random moments until it is told to stop."""

    chance: random.Random
    harms: list[Callable[[], None]]
    done: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        # However short the run is, a web server and a worker have had their turn.
        first = [self.harms[-2], self.harms[0]]
        while not self.done.wait(self.chance.uniform(0.3, 2)):
            harm = first.pop() if first else self.chance.choice(self.harms)
            harm()


@pytest.fixture
def seed() -> int:
    return int(os.environ.get("KILL_SEED") or secrets.randbits(32))


@pytest.mark.parametrize("processing", ["inline", "tasks"])
def test_kills__lose_nothing_and_run_nothing_twice(
    processing, site_database_url, seed, capsys, record_property
):
    if processing == "tasks":
        require_tasks_in_the_database()
    chance = random.Random(seed)
    port = free_port()
    environment = running_environment(
        site_database_url,
        {"DJANGO_SETTINGS_MODULE": "tests.kill_app.settings", "PERFSEE_PROCESSING": processing},
    )
    site = Site(environment=environment, origin=f"http://127.0.0.1:{port}")
    site.manage("migrate", "--run-syncdb", "-v0")
    python = [sys.executable]
    web = Victim(
        command=[*python, "-m", "gunicorn", "--worker-class=gthread", "--threads=4", "--workers=2"]
        + ["--no-control-socket", f"--bind=127.0.0.1:{port}", APPLICATIONS[processing]],
        environment=environment,
    )
    jobs = [["perfsee_sweep", "--watch=0.5"], ["perfsee_sweep", "--watch=0.5"]]
    if processing == "tasks":
        jobs[1:] = [["db_worker", "--interval=0.05", "--no-startup-delay"]] * 2
    workers = [
        Victim(command=[*python, "manage.py", *job], environment=environment) for job in jobs
    ]
    ended = Counter[str]()
    chaos = Chaos(
        chance=chance,
        harms=[
            *[web.kill_a_child] * 3,
            web.kill_and_restart,
            *[worker.kill_and_restart for worker in workers],
            lambda: ended.update(connections=end_connections(site_database_url, chance)),
        ],
    )
    started = time.monotonic()
    with running(web, *workers):
        wait_until_it_listens(port)
        harm = threading.Thread(target=chaos.run)
        harm.start()
        try:
            with ThreadPoolExecutor(SENDERS) as pool:
                ids = [f"delivery-{number}" for number in range(DELIVERIES)]
                answers = dict(zip(ids, pool.map(partial(send, site, port), ids), strict=True))
        finally:
            chaos.done.set()
            harm.join()
        sent_seconds = time.monotonic() - started
        settle(site)

    acknowledged = {name for name, status in answers.items() if status == 204}
    stored = set(lines_of(site, "Delivery.objects.values_list('delivery_id', flat=True)"))
    states = Counter(lines_of(site, "Delivery.objects.values_list('state', flat=True)"))
    outcomes = Counter(lines_of(site, "ReceiverRun.objects.values_list('outcome', flat=True)"))
    effects = Counter(lines_of(site, f"{EFFECTS}.values_list('receiver', 'delivery_id')"))
    expected = {str((receiver, name)) for name in stored for receiver in RECEIVERS}
    figures = {
        "seed": seed,
        "database": connection.vendor,
        "processing": processing,
        "sent": DELIVERIES,
        "answers": dict(Counter(answers.values())),
        "kills": {"web": web.kills, "workers": sum(worker.kills for worker in workers), **ended},
        "seconds": {"sending": round(sent_seconds), "all": round(time.monotonic() - started)},
        "acknowledged but lost": len(acknowledged - stored),
        "states": dict(states),
        "runs": dict(outcomes),
        "effects": effects.total(),
        "effects missing": len(expected - effects.keys()),
        "effects twice": sum(count > 1 for count in effects.values()),
    }
    with capsys.disabled():
        print("\n" + "\n".join(f"  {name}: {value}" for name, value in figures.items()))
    assert len(acknowledged) > DELIVERIES / 4
    assert web.kills > 0
    assert any(worker.kills for worker in workers)
    assert not acknowledged - stored
    assert states == {"succeeded": len(stored)}
    assert effects == dict.fromkeys(expected, 1)


EFFECTS = "Effect.objects.order_by('pk')"


def send(site: Site, port: int, delivery_id: str) -> int:
    """Send a delivery as Perfsee does: after a network error again, at most twice and at once.

    It is sent when somebody listens, so that most get an answer; the kills come in between.
    """
    wait_until_it_listens(port)
    headers = sending.perfsee_headers(BODY, SECRET, delivery_id=delivery_id)
    for _ in range(3):
        try:
            return sending.post(site.url, BODY, headers).status
        except sending.NotSent:
            continue
    return UNANSWERED


@contextmanager
def running(*victims: Victim) -> Iterator[None]:
    for victim in victims:
        victim.start()
    try:
        yield
    finally:
        for victim in victims:
            victim.kill()


def settle(site: Site) -> None:
    """Sweep until nothing waits and nothing is processed any more."""
    deadline = time.monotonic() + SETTLE_SECONDS
    unsettled = "Delivery.objects.filter(state__in=['received', 'processing', 'failed']).count()"
    while site.query(unsettled) != "0" and time.monotonic() < deadline:
        site.manage("perfsee_sweep", check=False)


def lines_of(site: Site, queryset: str) -> list[str]:
    return site.query(f"'\\n'.join(map(str, {queryset}))").splitlines()


def end_connections(url: str, chance: random.Random) -> int:
    """End one of the site's database connections from the server's side; SQLite has none."""
    if connection.vendor == "sqlite":
        return 0
    if connection.vendor == "mysql":
        return mariadb.end_connections(
            url, lambda others: chance.sample(others, min(len(others), 1))
        )
    import psycopg

    with psycopg.connect(url, autocommit=True) as admin:
        others = admin.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
            "AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
        ).fetchall()
        if others:
            admin.execute("SELECT pg_terminate_backend(%s)", chance.choice(others))
    return min(len(others), 1)


def free_port() -> int:
    """Return a port that is free now; it has to stay the same from one restart to the next."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
        return number


def wait_until_it_listens(port: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("The server did not start.")

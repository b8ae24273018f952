"""Deliveries go through real task engines, each with its own worker beside a real server."""

from __future__ import annotations

import base64
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from ast import literal_eval
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from redis import Redis
from rq.job import Job

from .databases import require_tasks_in_the_database
from .engines.receivers import FAILS_ONCE, HANGS_ONCE
from .redis_server import PrivateRedis, running_redis
from .sites import GUNICORN_THREADS, Site, running_site

pytestmark = pytest.mark.engine

# The commands as the documentation has them; a test adds only what makes it quicker.
MIGRATE = "python manage.py migrate"
DB_WORKER = "python manage.py db_worker"
RQ_WORKER = "python manage.py rqworker --job-class django_tasks_rq.Job --with-scheduler"
FENNEL_WORKER = "celery -A django_tasks_fennel.app worker"
CELERY_WORKER = "celery -A tests.engines.mysite worker"
SWEEP = "python manage.py perfsee_sweep"
WATCH = "python manage.py perfsee_sweep --watch 10"

START_REPLAY = """
from django.http import HttpResponse
from perfsee_webhooks.models import Replay
from perfsee_webhooks.replay import Order, Selection, schedule, start
order = Order(receivers=Replay.Receivers.ALL, batch_size=2)
response = HttpResponse()
schedule(start(Selection(), order, requested_by="somebody"), response=response)
response.close()
"""

QUICK_CELERY = "--concurrency=1 --without-gossip --without-mingle --without-heartbeat"

WAIT_SECONDS = 60
PROMPT_SECONDS = 4  # an engine that does not answer is given up after 5
POLL_SECONDS = 0.1


def stored_in_the_database(site: Site, redis: Redis) -> list[object]:
    tasks = "list(DBTaskResult.objects.values_list('args_kwargs', flat=True))"
    return list(literal_eval(site.query(tasks)))


def stored_by_rq(site: Site, redis: Redis) -> list[object]:
    keys = [key.decode().removeprefix("rq:job:") for key in redis.scan_iter("rq:job:*")]
    jobs = [Job.fetch(key, connection=redis) for key in keys]
    return [{"args": list(job.args), "kwargs": job.kwargs} for job in jobs]


def stored_by_celery(site: Site, redis: Redis) -> list[object]:
    queues = [key for key in redis.scan_iter() if redis.type(key) == b"list"]
    messages = [json.loads(raw) for key in queues for raw in redis.lrange(key, 0, -1)]
    bodies = [json.loads(base64.b64decode(message["body"])) for message in messages]
    assert all(not any(embedded.values()) for _args, _kwargs, embedded in bodies)
    return [{"args": args, "kwargs": kwargs} for args, kwargs, _embedded in bodies]


@dataclass(frozen=True, kw_only=True)
class Engine:
    """A way to have deliveries processed, and how to look into what it has stored."""

    settings: str
    worker: str
    quick: str
    stored: Callable[[Site, Redis], list[object]]
    processing: str | None = None
    redis_url: str | None = None
    defers: bool = True


ENGINES = {
    "db": Engine(
        settings="tests.engines.settings",
        processing="tasks",
        worker=DB_WORKER,
        quick="--interval 0.1 --no-startup-delay",
        stored=stored_in_the_database,
    ),
    "rq": Engine(
        settings="tests.engines.settings_rq",
        redis_url="unix://{}",
        worker=RQ_WORKER,
        quick="",
        stored=stored_by_rq,
    ),
    "fennel": Engine(
        settings="tests.engines.settings_fennel",
        redis_url="redis+socket://{}",
        worker=FENNEL_WORKER,
        quick=QUICK_CELERY,
        stored=stored_by_celery,
    ),
    "dotted-path": Engine(
        settings="tests.engines.mysite.settings",
        redis_url="redis+socket://{}",
        worker=CELERY_WORKER,
        quick=QUICK_CELERY,
        stored=stored_by_celery,
        defers=False,
    ),
}
DEFERRING = [name for name, engine in ENGINES.items() if engine.defers]
NOT_DEFERRING = [name for name, engine in ENGINES.items() if not engine.defers]
ON_REDIS = [name for name, engine in ENGINES.items() if engine.redis_url]


@dataclass(frozen=True, kw_only=True)
class Run:
    """What the receiver wrote down about one of its runs."""

    delivery_id: str
    attempt: int
    process: int
    session: int


@dataclass(frozen=True, kw_only=True)
class Rig:
    """A site and its engine, as a test drives them."""

    engine: Engine
    site: Site
    redis: PrivateRedis
    folder: Path

    def send(self, body: bytes, delivery_id: str) -> float:
        """Send a delivery and return after how many seconds it was answered with 204."""
        answer = self.site.send(body, delivery_id)
        assert answer.status == 204
        return answer.duration.total_seconds()

    def sweep_until(self, printed: str) -> None:
        """Sweep again and again, as cron would, until one says so."""
        self.wait_for(lambda: printed in self.command(SWEEP).stdout)

    def command(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run one of the documented commands to its end."""
        return subprocess.run(
            arguments_of(command),
            capture_output=True,
            check=False,
            cwd=self.site.folder,
            env=self.site.environment,
            text=True,
            timeout=WAIT_SECONDS,
        )

    def engine_by_the_doctor(self, *arguments: str) -> str:
        """Return what the doctor finds of the engine: ok, warning or error."""
        told = json.loads(self.site.manage("perfsee_doctor", "--json", *arguments, check=False))
        (level,) = (found["level"] for found in told["results"] if found["topic"] == "engine")
        return str(level)

    def states(self) -> list[str]:
        """Return the states of the deliveries in the site's database, each once."""
        states = "Delivery.objects.order_by('state').values_list('state', flat=True).distinct()"
        return self.site.query(f"' '.join({states})").split()

    def runs(self) -> list[Run]:
        """Return the runs of the receiver so far, as it wrote them down itself."""
        diary = Path(self.site.environment["ENGINES_DIARY"])
        lines = diary.read_text().splitlines() if diary.exists() else []
        return [Run(**json.loads(line)) for line in lines]

    def wait_for_runs(self, count: int, *, then: str) -> None:
        """Wait until so many runs have begun, and all deliveries are in the same state."""
        self.wait_for(lambda: len(self.runs()) >= count)
        self.wait_for(lambda: self.states() == [then])

    def wait_until_nobody_was_told_of(self, count: int) -> None:
        """Wait until the site has given up to tell the engine of so many deliveries."""
        left = "Delivery.objects.filter(state='received', handed_over_at=None).count()"
        self.wait_for(lambda: self.site.query(left) == str(count))

    def wait_for(self, is_true: Callable[[], bool]) -> None:
        """Wait until something holds; fail with all that was printed if it never does."""
        deadline = time.monotonic() + WAIT_SECONDS
        while not is_true():
            if time.monotonic() > deadline:
                logs = [log.read_text() for log in sorted(self.folder.glob("*.log"))]
                raise AssertionError("\n".join([*map(str, self.runs()), *self.site.printed, *logs]))
            time.sleep(POLL_SECONDS)

    @contextmanager
    def worker(self) -> Iterator[subprocess.Popen[bytes]]:
        """Run the engine's worker."""
        with self.process(f"{self.engine.worker} {self.engine.quick}") as worker:
            yield worker

    @contextmanager
    def process(self, command: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run a command in the background; it leads a session that its children stay in."""
        with (self.folder / f"{time.monotonic_ns()}.log").open("wb") as log:
            process = subprocess.Popen(
                arguments_of(command),
                cwd=self.site.folder,
                env=self.site.environment,
                start_new_session=True,
                stdout=log,
                stderr=log,
            )
        try:
            yield process
            process.terminate()
            process.wait(WAIT_SECONDS)
        finally:
            kill_session(process)


def arguments_of(command: str) -> list[str]:
    """Return a documented command as the arguments of a process of this Python."""
    program, *arguments = shlex.split(command)
    module = [] if program == "python" else ["-m", program]
    return [sys.executable, *module, *arguments]


def kill_session(leader: subprocess.Popen[bytes]) -> None:
    """Kill a process and all of its session, whether or not it still lives itself."""
    for process in map(int, (path.name for path in Path("/proc").glob("[0-9]*"))):
        with suppress(ProcessLookupError):
            if os.getsid(process) == leader.pid:
                os.kill(process, signal.SIGKILL)
    leader.wait(WAIT_SECONDS)


@pytest.fixture
def lease_seconds() -> float:
    """How long the site waits for an engine; long, so that no sweep can help by accident."""
    return 60


@pytest.fixture
def rig(
    request: pytest.FixtureRequest, site_database_url: str, tmp_path: Path, lease_seconds: float
) -> Iterator[Rig]:
    """The site on a real server, with the engine that the test is for, but without a worker."""
    engine = ENGINES[request.param]
    if not engine.redis_url:
        require_tasks_in_the_database()
    environment = {
        "DJANGO_SETTINGS_MODULE": engine.settings,
        "ENGINES_DIARY": str(tmp_path / "diary"),
        "ENGINES_LEASE_SECONDS": str(lease_seconds),
    }
    with ExitStack() as stack:
        redis = PrivateRedis(folder=tmp_path)
        if engine.redis_url:
            redis = stack.enter_context(running_redis())
            environment["REDIS_URL"] = engine.redis_url.format(redis.socket)
        if engine.processing:
            environment["PERFSEE_PROCESSING"] = engine.processing
        site = stack.enter_context(running_site(GUNICORN_THREADS, site_database_url, environment))
        with suppress(HTTPError):
            urlopen(site.url)  # noqa: S310  # the server loads the site with its first request
        rig = Rig(engine=engine, site=site, redis=redis, folder=tmp_path)
        if not engine.redis_url:
            assert rig.command(MIGRATE).returncode == 0
        yield rig


@pytest.mark.parametrize("rig", ENGINES, indirect=True)
def test_engine__is_told_the_primary_key_and_its_worker_processes(rig, body):
    rig.send(body, "one")
    primary_key = int(rig.site.query("Delivery.objects.get().pk"))
    with rig.redis.client() as redis:
        rig.wait_for(lambda: rig.engine.stored(rig.site, redis) != [])
        assert rig.engine.stored(rig.site, redis) == [{"args": [primary_key], "kwargs": {}}]
    assert rig.runs() == []
    with rig.worker() as worker:
        rig.wait_for_runs(1, then="succeeded")
        assert [(run.attempt, run.session) for run in rig.runs()] == [(1, worker.pid)]
        assert rig.engine_by_the_doctor("--wait=20") == "ok"


@pytest.mark.parametrize("rig", ["db"], indirect=True)
def test_engine__without_a_worker_is_found_out_by_the_doctor(rig):
    assert rig.engine_by_the_doctor("--wait=0.5") == "error"


@pytest.mark.parametrize("rig", DEFERRING, indirect=True)
def test_engine__carries_a_replay_out(rig, body):
    with rig.worker() as worker:
        for number in range(5):
            rig.send(body, f"d{number}")
        rig.wait_for_runs(5, then="succeeded")
        rig.site.manage("shell", "-v0", "-c", START_REPLAY)
        rig.wait_for_runs(10, then="succeeded")
        assert rig.site.query("Replay.objects.get().state") == "finished"
        assert Counter(run.delivery_id for run in rig.runs()) == {f"d{n}": 2 for n in range(5)}
        assert {run.session for run in rig.runs()} == {worker.pid}


@pytest.mark.parametrize("rig", DEFERRING, indirect=True)
def test_engine__that_defers_retries_without_a_sweep(rig, body):
    with rig.worker() as worker:
        for number in range(6):
            rig.send(body, f"{FAILS_ONCE}-{number}")
        rig.wait_for_runs(12, then="succeeded")
        assert Counter(run.attempt for run in rig.runs()) == {1: 6, 2: 6}
        assert {run.session for run in rig.runs()} == {worker.pid}


@pytest.mark.parametrize("rig", NOT_DEFERRING, indirect=True)
def test_engine__that_does_not_defer_retries_with_the_sweep(rig, body):
    with rig.worker() as worker:
        rig.send(body, FAILS_ONCE)
        rig.wait_for_runs(1, then="failed")
        rig.sweep_until("Took up 1 (1 failed): 1 handed over.")
        rig.wait_for_runs(2, then="succeeded")
        assert [(run.attempt, run.session) for run in rig.runs()] == [
            (1, worker.pid),
            (2, worker.pid),
        ]


@pytest.mark.parametrize("rig", ON_REDIS, indirect=True)
def test_engine__that_was_down_is_told_by_the_sweep(rig, body):
    rig.redis.stop()
    for name in ("one", "two"):
        assert rig.send(body, name) < PROMPT_SECONDS
    rig.wait_until_nobody_was_told_of(2)
    swept = rig.command(f"{SWEEP} --batch-size 1")
    assert (swept.returncode, swept.stdout) == (1, "Took up 1 (1 received): 1 error.\n")
    rig.redis.start()
    assert rig.command(SWEEP).stdout == "Took up 2 (2 received): 2 handed over.\n"
    with rig.worker() as worker:
        rig.wait_for_runs(2, then="succeeded")
        assert {run.session for run in rig.runs()} == {worker.pid}


@pytest.mark.parametrize("rig", ON_REDIS, indirect=True)
def test_engine__that_does_not_answer_holds_up_no_answer(rig, body):
    with rig.redis.paused():
        assert rig.send(body, "one") < PROMPT_SECONDS
        rig.wait_until_nobody_was_told_of(1)
    assert rig.command(SWEEP).stdout == "Took up 1 (1 received): 1 handed over.\n"
    with rig.worker() as worker:
        rig.wait_for_runs(1, then="succeeded")
        assert [run.session for run in rig.runs()] == [worker.pid]


@pytest.mark.parametrize("lease_seconds", [2])
@pytest.mark.parametrize("rig", ENGINES, indirect=True)
def test_engine__whose_worker_was_killed_is_told_again_by_the_sweep(rig, body):
    with rig.worker() as killed:
        rig.send(body, HANGS_ONCE)
        rig.wait_for_runs(1, then="processing")
        kill_session(killed)
    rig.sweep_until("Took up 1 (1 processing): 1 handed over.")
    with rig.worker() as worker:
        rig.wait_for_runs(2, then="succeeded")
        assert [(run.attempt, run.session) for run in rig.runs()] == [
            (1, killed.pid),
            (2, worker.pid),
        ]
    runs = "ReceiverRun.objects.filter(receiver__endswith='write_down').order_by('number')"
    outcomes = f"' '.join({runs}.values_list('outcome', flat=True))"
    assert rig.site.query(outcomes) == "lost succeeded"


@pytest.mark.parametrize("rig", ["rq"], indirect=True)
def test_engine__is_told_by_a_sweep_that_watches(rig, body):
    rig.redis.stop()
    rig.send(body, "one")
    rig.wait_until_nobody_was_told_of(1)
    rig.redis.start()
    with rig.process(WATCH), rig.worker() as worker:
        rig.wait_for_runs(1, then="succeeded")
        assert [run.session for run in rig.runs()] == [worker.pid]

"""What telling a worker costs, and whether an answer waits for receivers."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from statistics import median
from typing import Final

from perfsee_webhooks.sending import post

from .load import Load, fire, new, write_requests
from .peers.receivers import SLEEP_SECONDS
from .rounds import ROUNDS, SECONDS, Bench, bench, execute, ours, per_second, rates
from .servers import durable_postgresql, environment_of, running, serving
from .table import Figure, Report, figure

_CONCURRENCY: Final = 8
_ANSWERS: Final = 5
_TO_TASKS: Final = {"PROCESSING": "tasks"}
_SLEEPING: Final = {"RECEIVER": "sleep"}
_RUNS: Final = "SELECT COUNT(*) FROM perfsee_webhooks_receiverrun"
# More than a worker has run at the end of the round, since each takes it a second.
_STARTERS: Final = 60
_START_SECONDS: Final = 60
_QUEUE: Final = ("django_tasks_database_dbtaskresult",)


def run(*, full: bool) -> Report:
    """Return what the hand-over costs, and how long answers take beside a slow receiver."""
    with durable_postgresql() as url, bench(url) as measured:
        figures = [_cost(measured), _out_of_band(measured, rounds=ROUNDS if full else 3)]
        servers = ("granian", "gunicorn", "uvicorn") if full else ("granian", "gunicorn")
        figures += [_inline(measured, server) for server in servers]
    return Report(figures=figures)


def _cost(measured: Bench) -> Figure:
    alone = ours()
    handing_over = ours("handing over", environment=_TO_TASKS, emptied=_QUEUE)
    loads = measured.measure([alone, handing_over], concurrency=_CONCURRENCY)
    return figure(
        "cost of receiving with the hand-over to the database worker ÷ without",
        rates(loads[alone.name]),
        rates(loads[handing_over.name]),
        at_most=1.6,
        note=f"{per_second(loads[handing_over.name])} and {per_second(loads[alone.name])}",
    )


def _out_of_band(measured: Bench, *, rounds: int) -> Figure:
    """Compare the slowest answers beside a worker whose receiver sleeps, and without receivers."""
    alone = ours(environment=_TO_TASKS, emptied=_QUEUE)
    sleeping = ours("sleeping", environment={**_TO_TASKS, **_SLEEPING}, emptied=_QUEUE)
    url = measured.database_url
    environment = environment_of(url, sleeping.environment)
    worker = [sys.executable, "-m", "django", "db_worker", "--interval=0.1"]
    loads: dict[str, list[Load]] = {alone.name: [], sleeping.name: []}
    runs = 0
    for _number in range(rounds):
        # A worker would run what is sent without receivers as well.
        both = []
        for each in (alone, sleeping):
            with serving(each.server, each.application, url, each.environment) as origin:
                measured.fire(each, origin, _CONCURRENCY, SECONDS / 2)
                measured.empty(each)
                if each is sleeping:
                    with running(worker, environment):
                        beside = replace(each, kept=_give_work(measured, origin))
                        both.append(measured.valid(beside, origin, _CONCURRENCY, 2 * SECONDS))
                        runs += execute(url, _RUNS)
                else:
                    both.append(measured.valid(each, origin, _CONCURRENCY, 2 * SECONDS))
        if all(both):
            for name, load in zip(loads, both, strict=True):
                assert load is not None  # noqa: S101  # said to the type checker
                loads[name].append(load)
    slowest = {name: [float(load.p99_us) for load in each] for name, each in loads.items()}
    return figure(
        "p99 of the answer beside a receiver that sleeps 1 s, out of band ÷ without a receiver",
        slowest[sleeping.name],
        slowest[alone.name],
        at_most=3,
        note=f"{_milliseconds(slowest[sleeping.name])} and {_milliseconds(slowest[alone.name])}, "
        f"while {runs} receivers ran",
    )


def _give_work(measured: Bench, origin: str) -> int:
    """Have the worker run receivers for all of the round; return the last primary key of those.

    It takes seconds to start, and would be idle for all of the round.
    """
    url, requests = measured.database_url, measured.folder / "starters"
    write_requests(requests, "/perfsee/webhook/", new(_STARTERS))
    fire(origin, requests, concurrency=_CONCURRENCY, seconds=SECONDS)
    deadline = time.monotonic() + _START_SECONDS
    while not execute(url, _RUNS):
        if time.monotonic() > deadline:
            raise RuntimeError("The worker runs nothing.")
        time.sleep(0.1)
    return int(execute(url, "SELECT MAX(id) FROM perfsee_webhooks_delivery"))


def _inline(measured: Bench, server: str) -> Figure:
    """Send a few, one after the other: no answer may take as long as its own receiver."""
    is_asgi = server == "uvicorn"
    application = f"benchmarks.peers.{'asgi' if is_asgi else 'wsgi'}:application"
    contender = ours(
        server=server,
        application=application,
        environment={"PROCESSING": "inline", **_SLEEPING, **({"POOL": "yes"} if is_asgi else {})},
    )
    measured.empty(contender)
    with serving(server, application, measured.database_url, contender.environment) as origin:
        first, *answers = [
            post(f"{origin}/perfsee/webhook/", body, headers).duration.total_seconds()
            for body, headers in new(1 + _ANSWERS)
        ]
    return figure(
        f"slowest of {_ANSWERS} answers on {server}, inline ÷ its receiver, which sleeps 1 s",
        [max(answers)],
        [SLEEP_SECONDS],
        at_most=0.2,
        note=f"median {_milliseconds([each * 1e6 for each in answers])}, the first, with what a "
        f"process does once, {first * 1e3:.0f} ms",
    )


def _milliseconds(microseconds: list[float]) -> str:
    return f"{median(microseconds) / 1e3:.1f} ms"

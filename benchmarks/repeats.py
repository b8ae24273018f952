"""What a repeat and a forged request cost beside a new delivery, in time and in statements."""

from __future__ import annotations

import json
import sys
from subprocess import run as run_process
from typing import Final

from .load import KINDS, Load, fire, write_requests
from .rounds import ROUNDS, Bench, bench, ours, per_second, rates
from .servers import ROOT, durable_postgresql, environment_of, serving
from .table import Figure, Report, figure

_CONCURRENCY: Final = 8
_REQUESTS: Final = 2_500
_MOST_SECONDS: Final = 60.0
# How many statements each may take, BEGIN and COMMIT counted, and how many of them may read.
_STATEMENTS: Final = {
    "new": (1, 0),
    "new, handed over": (2, 0),
    "repeat": (2, 0),
    "forged": (0, 0),
}


def run(*, full: bool) -> Report:
    """Return the costs in time, and then in statements."""
    with durable_postgresql() as url, bench(url) as measured:
        figures = [*_costs(measured, 2 * ROUNDS if full else ROUNDS), *_counted(url)]
    return Report(figures=figures)


def _costs(measured: Bench, rounds: int) -> list[Figure]:
    receive = ours()
    paths = {kind: measured.folder / f"few {kind}" for kind in ("new", "forged")}
    for kind, path in paths.items():
        write_requests(path, "/perfsee/webhook/", KINDS[kind](_REQUESTS))
    loads: dict[str, list[Load]] = {"new": [], "repeat": [], "forged": []}
    url = measured.database_url
    with serving(receive.server, receive.application, url, receive.environment) as origin:
        measured.fire(receive, origin, _CONCURRENCY, 1)
        for _number in range(rounds):
            measured.empty(receive)
            turns = (("new", "new"), ("repeat", "new"), ("forged", "forged"))
            both = {
                name: fire(origin, paths[kind], concurrency=_CONCURRENCY, seconds=_MOST_SECONDS)
                for name, kind in turns
            }
            succeeded = [both[name].succeeded for name in loads]
            if [measured.stored(receive), *succeeded] != [_REQUESTS, _REQUESTS, _REQUESTS, 0]:
                print(f"{succeeded} of {_REQUESTS} each were answered 2xx: this round is void.")
                continue
            for name, load in both.items():
                loads[name].append(load)
    return [
        figure(
            f"cost of a {name} ÷ a new one",
            rates(loads["new"]),
            rates(loads[name]),
            at_most=limit,
            note=f"{per_second(loads[name])} and {per_second(loads['new'])}",
        )
        for name, limit in (("repeat", 1.3), ("forged", 0.3))
    ]


def _counted(url: str) -> list[Figure]:
    """Count the statements of each in a process of its own, where Django can be set up."""
    statements: dict[str, list[str]] = {}
    for processing in ({}, {"PROCESSING": "tasks"}):
        finished = run_process(
            [sys.executable, "-m", "benchmarks.statements"],
            check=True,
            capture_output=True,
            cwd=ROOT,
            env=environment_of(url, {"PEER": "perfsee", **processing}),
            text=True,
        )
        statements |= json.loads(finished.stdout)
    figures = []
    for name, (most, most_reads) in _STATEMENTS.items():
        verbs = statements[name]
        reads = verbs.count("SELECT")
        # A read too many counts as a statement too many.
        counted = len(verbs) + (reads > most_reads) * most
        figures.append(
            figure(
                f"statements of one that is {name}",
                [counted],
                [1],
                at_most=most,
                note=", ".join(verbs) or "none",
            )
        )
    return figures

"""Receiving on ASGI servers, compared with an asynchronous view over psycopg's own pool."""

from __future__ import annotations

from typing import Final

from .rounds import IN_FRONT_ASGI, Contender, bench, compared, ours
from .servers import durable_postgresql
from .table import Report, figure

_CONCURRENCY: Final = 32
_APPLICATION: Final = "benchmarks.peers.asgi:application"


def run(*, full: bool) -> Report:
    """Return how receiving compares; that a request failed would void its round."""
    servers = ("granian-asgi", "uvicorn") if full else ("uvicorn",)
    with durable_postgresql() as url, bench(url) as measured:
        figures = []
        for server in servers:
            pooled = {"POOL": "yes"}
            mine = [
                ours(server=server, application=_APPLICATION, environment=pooled),
                ours(
                    "receive in front", server=server, application=IN_FRONT_ASGI, environment=pooled
                ),
            ]
            bare = Contender(
                name="bare async Django view",
                server=server,
                application=_APPLICATION,
                environment={"PEER": "async"},
            )
            loads = measured.measure([*mine, bare], concurrency=_CONCURRENCY)
            for each in mine:
                failed = sum(load.sent - load.succeeded for load in loads[each.name])
                figures += [
                    compared(
                        loads,
                        each,
                        bare,
                        at_least=0.8,
                        how=f", on {server}, {_CONCURRENCY} at once",
                    ),
                    figure(
                        f"{each.name}: requests that failed on {server}", [failed], [1], at_most=0
                    ),
                ]
    return Report(figures=figures)

"""Receiving, compared with others that do the same work: on one server, one database, in turns."""

from __future__ import annotations

from typing import Final

from .rounds import Bench, Contender, bench, of_stripe, ours, peer, per_second, rates
from .servers import durable_postgresql, has_node
from .table import Figure, Report, figure

LOW: Final = 8
HIGH: Final = 32

BARE: Final = peer("bare Django view", "bare")
PLAIN: Final = Contender(name="bare WSGI", application="benchmarks.peers.plain:application")
EXPRESS: Final = Contender(name="Express", server="node")
STRIPE: Final = of_stripe("dj-stripe")
STRIPE_STORING: Final = of_stripe("dj-stripe, storing alone", STRIPE_PROCESSING="none")
OTHERS: Final = (
    peer("Model.save(force_insert)", "by_save"),
    peer("bulk_create(ignore_conflicts)", "by_bulk_create"),
    peer("get_or_create", "by_get_or_create"),
    peer("DRF view", "drf"),
)


def run(*, full: bool) -> Report:
    """Return how receiving compares with its peers."""
    with durable_postgresql() as url, bench(url) as measured:
        figures = _on_granian(measured, LOW)
        figures += _with_middleware(measured)
        if full:
            figures += _on_granian(measured, HIGH)
            figures += _on_gunicorn(measured)
    return Report(figures=figures)


def _on_granian(measured: Bench, concurrency: int) -> list[Figure]:
    node = (EXPRESS,) if has_node() else ()
    loads = measured.measure(
        [ours(), BARE, PLAIN, *node, STRIPE, STRIPE_STORING, *OTHERS], concurrency=concurrency
    )
    mine = rates(loads["receive"])
    limits = {BARE.name: 0.95, STRIPE.name: 12.0, EXPRESS.name: 0.6}
    return [
        figure(
            f"receive ÷ {name}, {concurrency} at once",
            mine,
            rates(of_peer),
            at_least=limits.get(name),
            note=f"{per_second(loads['receive'])} and {per_second(of_peer)}",
        )
        for name, of_peer in loads.items()
        if name != "receive"
    ]


def _with_middleware(measured: Bench) -> list[Figure]:
    """Compare behind the middleware of `startproject`, as most sites have it."""
    middleware = {"MIDDLEWARE": "default"}
    mine = ours(environment=middleware)
    bare = Contender(name=BARE.name, environment={**BARE.environment, **middleware})
    loads = measured.measure([mine, bare], concurrency=LOW)
    return [
        figure(
            "receive ÷ bare Django view, with Django's usual middleware",
            rates(loads[mine.name]),
            rates(loads[bare.name]),
            note=f"{per_second(loads[mine.name])} and {per_second(loads[bare.name])}",
        )
    ]


def _on_gunicorn(measured: Bench) -> list[Figure]:
    mine = ours(server="gunicorn")
    bare = Contender(name=BARE.name, server="gunicorn", environment=BARE.environment)
    on_granian = ours("on granian")
    loads = measured.measure([mine, bare, on_granian], concurrency=LOW)
    return [
        figure(
            "receive ÷ bare Django view, both on gunicorn",
            rates(loads[mine.name]),
            rates(loads[bare.name]),
            at_least=0.95,
            note=f"{per_second(loads[mine.name])} and {per_second(loads[bare.name])}",
        ),
        figure(
            "receive on gunicorn ÷ receive on granian",
            rates(loads[mine.name]),
            rates(loads[on_granian.name]),
        ),
    ]

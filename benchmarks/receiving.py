"""Receiving, compared with others that do the same work: on one server, one database, in turns."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from .rounds import (
    IN_FRONT,
    Bench,
    Contender,
    bench,
    compared,
    of_stripe,
    ours,
    peer,
)
from .servers import durable_postgresql, has_node
from .table import Figure, Report

LOW: Final = 8
HIGH: Final = 32

RECEIVE: Final = ours()
FRONT: Final = ours("receive in front", application=IN_FRONT)
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
    peers = [BARE, PLAIN, *node, STRIPE, STRIPE_STORING, *OTHERS]
    loads = measured.measure([RECEIVE, FRONT, *peers], concurrency=concurrency)
    limits = {BARE.name: 0.95, STRIPE.name: 12.0, EXPRESS.name: 0.6}
    return [
        compared(
            loads, mine, of_peer, at_least=limits.get(of_peer.name), how=f", {concurrency} at once"
        )
        for mine in (RECEIVE, FRONT)
        for of_peer in peers
        if mine is RECEIVE or of_peer.name in limits
    ]


def _with_middleware(measured: Bench) -> list[Figure]:
    """Compare behind the middleware of `startproject`, as most sites have it."""
    middleware = {"MIDDLEWARE": "default"}
    bare, mine, front = (
        replace(each, environment={**each.environment, **middleware})
        for each in (BARE, RECEIVE, FRONT)
    )
    loads = measured.measure([mine, front, bare], concurrency=LOW)
    how = ", with Django's usual middleware"
    return [compared(loads, each, bare, how=how) for each in (mine, front)]


def _on_gunicorn(measured: Bench) -> list[Figure]:
    mine, bare = (replace(each, server="gunicorn") for each in (RECEIVE, BARE))
    on_granian = replace(RECEIVE, name="receive on granian")
    loads = measured.measure([mine, bare, on_granian], concurrency=LOW)
    return [
        compared(loads, mine, bare, at_least=0.95, how=", both on gunicorn"),
        compared(loads, mine, on_granian, how=", the first on gunicorn"),
    ]

"""Receiving into SQLite by four processes: with the app's options, and with Django's own."""

from __future__ import annotations

import tempfile
from statistics import median
from typing import Final

from .rounds import IN_FRONT, ROUNDS, bench, execute, ours
from .table import Report, figure

_CONCURRENCY: Final = 32


def run(*, full: bool) -> Report:
    """Return how much quicker the app's options are, and how many requests failed."""
    with tempfile.TemporaryDirectory() as folder:
        urls = [f"sqlite:///{folder}/{name}.sqlite3" for name in ("wal", "default")]
        with bench(*urls) as measured:
            # The file remembers what its tables were made with.
            execute(urls[1], "PRAGMA journal_mode = DELETE")
            recommended = ours(
                "SQLITE_OPTIONS", server="gunicorn-4", application=IN_FRONT, database_url=urls[0]
            )
            default = ours(
                "Django's default options",
                server="gunicorn-4",
                application=IN_FRONT,
                database_url=urls[1],
                environment={"SQLITE": "default"},
            )
            loads = measured.measure(
                [recommended, default],
                concurrency=_CONCURRENCY,
                rounds=2 * ROUNDS if full else ROUNDS,
            )
    quick, slow = ([load.succeeded_per_second for load in each] for each in loads.values())
    failed, failed_by_default = (
        sum(load.sent - load.succeeded for load in each) for each in loads.values()
    )
    figures = [
        figure(
            "receive into SQLite with SQLITE_OPTIONS ÷ with Django's default options",
            quick,
            slow,
            at_least=2,
            note=f"{median(quick):,.0f}/s and {median(slow):,.0f}/s, four gunicorn processes",
        ),
        figure(
            "requests that failed on SQLite, with SQLITE_OPTIONS",
            [failed],
            [1],
            at_most=0,
            note=f"with Django's default options {failed_by_default}",
        ),
    ]
    return Report(figures=figures)

"""The whole of it: a third of the time in process, and a third over HTTP on each server."""

from __future__ import annotations

import tempfile
from pathlib import Path

from proof.table import Row

from . import in_process, over_http
from .findings import Tally


def run(*, seconds: float, seed: int) -> list[Row]:
    """Fuzz, print what was tried and found, and return the rows of the table.

    Django has to be set up. Lost is what was acknowledged and is not stored.
    """
    in_process_tally, http_tally = Tally(), Tally()
    share = seconds / (1 + len(over_http.SERVERS))
    in_process.run(in_process_tally, seconds=share, seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        for server in over_http.SERVERS:
            over_http.run(http_tally, seconds=share, seed=seed, server=server, folder=Path(folder))
    return [
        _row("hostile input in process", in_process_tally, seed),
        _row("hostile requests over HTTP", http_tally, seed),
    ]


def _row(scenario: str, tally: Tally, seed: int) -> Row:
    print(f"{scenario}: {tally.report()}")
    lost = tally.found[over_http.LOST]
    return Row(
        scenario=scenario,
        tried=tally.tried.total(),
        lost=lost,
        wrong=tally.found.total() - lost,
        note=f"seed {seed}",
    )

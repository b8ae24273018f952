"""Kills web servers, workers and database connections while deliveries come in: the kill tests.

The tests hold what has to be true, and print their figures; this reads them.
"""

from __future__ import annotations

import re
import subprocess
import sys

from .table import Row

_TESTS = ("tests/test_kills.py", "tests/test_replay_kills.py")
_FIGURE = re.compile(
    r"^  (sent|acknowledged but lost|effects missing|effects twice): (\d+)$", re.MULTILINE
)
_REPLAYED = re.compile(r"^  effects: (\d+), twice: (\d+)$", re.MULTILINE)


def run() -> list[Row]:
    """Run the kill tests on PostgreSQL, and return a row for each of them."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "kill", "--database", "postgresql"]
    ran = subprocess.run([*command, *_TESTS], capture_output=True, check=False, text=True)
    figures: list[dict[str, int]] = []
    for name, value in _FIGURE.findall(ran.stdout):
        if name == "sent":
            figures.append({})
        if figures:
            figures[-1][name] = int(value)
    failed = 0 if ran.returncode == 0 else 1
    rows = [_row(one, failed) for one in figures]
    for effects, twice in _REPLAYED.findall(ran.stdout):
        scenario = "a replay, whoever carries it out is killed again and again"
        note = f"{effects} effects of receivers"
        rows.append(
            Row(scenario=scenario, tried=int(effects), lost=failed, wrong=int(twice), note=note)
        )
    return rows or [
        Row(scenario="the kill tests", tried=0, lost=0, wrong=1, note=ran.stdout[-300:])
    ]


def _row(figures: dict[str, int], failed: int) -> Row:
    return Row(
        scenario="web servers, workers and connections are killed under load",
        tried=figures["sent"],
        lost=figures["acknowledged but lost"] + figures["effects missing"],
        wrong=figures["effects twice"] + failed,
    )

"""Holds the page about security against the tests: no threat without one that is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from .documents import DOCS
from .sites import ROOT
from .test_layers import MODULES, imports_of

COLUMNS = ["threat", "what holds it", "what does not", "test"]
CONNECTING = {"asyncio.open_connection", "ftplib", "http.client", "requests", "smtplib", "socket"}


def rows_of(text: str) -> list[list[str]]:
    """Return the cells of the table of threats, its heading first."""
    section = text.split("\n## Threats\n")[1].split("\n## ", maxsplit=1)[0]
    lines = re.findall(r"^\|(.*)\|$", section, re.MULTILINE)
    return [[cell.strip() for cell in line.split("|")] for line in lines]


HEADING, _RULE, *THREATS = rows_of((DOCS / "security.md").read_text())


def functions_in(file: Path) -> set[str]:
    tree = ast.parse(file.read_bytes())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def named_in(cell: str) -> list[tuple[str, str]]:
    """Return each test of a cell with its file, the last one that is named before it."""
    found, file = [], ""
    for name in re.findall("`([^`]*)`", cell):
        if name.endswith(".py"):
            file = name
        else:
            found.append((file, name))
    return found


def test_table__has_these_columns():
    assert HEADING == COLUMNS
    assert len(THREATS) >= 14


@pytest.mark.parametrize("row", THREATS, ids=lambda row: row[0][:40])
def test_threat__is_held_by_something_that_is_tested(row):
    _threat, holds, _does_not, test = row
    assert holds
    assert named_in(test)
    for file, name in named_in(test):
        assert name.startswith("test_")
        assert name in functions_in(ROOT / file), f"{file} has no {name}"


@pytest.mark.parametrize(
    ("cell", "named"),
    [
        ("", []),
        ("`tests/a.py`", []),
        ("`a.py` `x` `y`; `b.py` `z`", [("a.py", "x"), ("a.py", "y"), ("b.py", "z")]),
    ],
)
def test_named_in__are_those_after_their_file(cell, named):
    assert named_in(cell) == named


def test_package__connects_to_what_it_is_told_to_send_to_alone():
    """An address in a payload is fetched by nobody who cannot open a connection."""
    connecting = {
        module
        for module in MODULES
        for name in imports_of(module)
        if name.startswith((*CONNECTING, "urllib.request"))
    }
    assert connecting == {"sending.py"}
    senders = {
        module
        for module in MODULES
        for name in imports_of(module)
        if name in ("perfsee_webhooks.sending", "perfsee_webhooks.sending.post")
    }
    assert senders == {"management/commands/perfsee_send.py"}

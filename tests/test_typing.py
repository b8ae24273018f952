"""What a type checker says to a site: `typing_tests` holds it, and mypy fails if it is untrue."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from .sites import ROOT

pytest.importorskip("mypy", reason="mypy is not installed")

PLANTED = """
from typing import Any

from perfsee_webhooks.payloads import BundleFinished, Event
from perfsee_webhooks.signals import bundle_finished, receive, source_finished


@receive(source_finished)
def wrong(event: BundleFinished, **kwargs: Any) -> None: ...


@receive(bundle_finished)
def right(event: BundleFinished, **kwargs: Any) -> None: ...


@receive("source:finished")
def of_any(event: Event, **kwargs: Any) -> None:
    print(event.bundle.artifact)


@receive(bundle_finished)  # type: ignore[type-var]
def of_any_again(event: Event, **kwargs: Any) -> None: ...
"""


def test_typing_tests__are_checked_with_all_the_rest():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]
    assert settings["strict"]
    assert "typing_tests" in settings["files"]


def test_typing_tests__refused_lines_say_why():
    modules = sorted((ROOT / "typing_tests").glob("*.py"))
    ignoring = [
        line
        for module in modules
        for line in module.read_text().splitlines()
        if "# type: ignore[" in line and "def unannotated" not in line
    ]
    assert len(ignoring) > 10
    assert [line for line in ignoring if "  # refused: " not in line] == []


def test_mypy__refuses_a_receiver_of_another_event(tmp_path):
    planted = tmp_path / "planted.py"
    planted.write_text(PLANTED)
    lines = PLANTED.splitlines()
    assert [(lines[number - 1], code) for number, code in errors_in(planted)] == [
        ("@receive(source_finished)", "type-var"),
        ("    print(event.bundle.artifact)", "union-attr"),
        ("@receive(bundle_finished)  # type: ignore[type-var]", "unused-ignore"),
    ]


def errors_in(module: Path) -> list[tuple[int, str]]:
    """Return the line and the code of each error that mypy finds in a module."""
    found = subprocess.run(
        [sys.executable, "-m", "mypy", str(module)],
        capture_output=True,
        check=False,
        cwd=ROOT,
        text=True,
    )
    assert found.stderr == ""
    # By its name only: what mypy remembers of an earlier run has the path of that run.
    error = rf"{re.escape(module.name)}:(\d+): error: .* \[([a-z-]+)\]$"
    return [(int(line), code) for line, code in re.findall(error, found.stdout, re.MULTILINE)]

"""A function carried out in a process of its own, in the example site on a given database."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from select import select
from typing import Any, Final

import django

_PROGRAM: Final = "from benchmarks.site import carry_out; carry_out()"


class Worker:
    """A process that has set the site up, and carries a function out when it is told to."""

    def __init__(self, url: str, function: str, **arguments: Any) -> None:
        """Start the process; `function` is `module:name`, its arguments and answer go as JSON."""
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, function, json.dumps(arguments)],
            env={
                **os.environ,
                "DATABASE_URL": url,
                "DJANGO_SETTINGS_MODULE": "example_project.settings",
                "DJANGO_SECRET_KEY": "of a benchmark",
                "PERFSEE_SECRETS": "of-a-benchmark",
                "PERFSEE_PROCESSING": "inline",
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._read()

    def begin(self) -> None:
        """Let it begin."""
        assert self._process.stdin  # noqa: S101  # for the type checker: it is a pipe
        self._process.stdin.write("begin\n")
        self._process.stdin.flush()

    def has_answered(self) -> bool:
        """Whether the function has returned."""
        assert self._process.stdout  # noqa: S101  # for the type checker: it is a pipe
        return bool(select([self._process.stdout], [], [], 0)[0])

    def answer(self) -> Any:
        """Wait for what the function returns."""
        answer = json.loads(self._read())
        self._process.communicate()
        return answer

    def _read(self) -> str:
        assert self._process.stdout  # noqa: S101  # for the type checker: it is a pipe
        line: str = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"The process ended with {self._process.wait()}.")
        return line


def answer_of(url: str, function: str, **arguments: Any) -> Any:
    """Carry a function out in a process of its own, and return what it returns."""
    worker = Worker(url, function, **arguments)
    worker.begin()
    return worker.answer()


def carry_out() -> None:
    """Be the process."""
    import logging

    logging.disable(logging.CRITICAL)
    django.setup()
    logging.disable(logging.CRITICAL)
    module, _, name = sys.argv[1].partition(":")
    function: Callable[..., Any] = getattr(import_module(module), name)
    _tell("ready")
    sys.stdin.readline()
    _tell(function(**json.loads(sys.argv[2])))


def _tell(answer: Any) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()

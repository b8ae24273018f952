"""How a command ends early: by a signal, or because nobody reads what it writes any more."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """Yield an event that is set when a signal asks to stop, once what is being run has ended."""
    stopped = threading.Event()
    before = {name: signal.getsignal(name) for name in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for name, handler in before.items():
            signal.signal(name, handler)

    def stop(*_: Any) -> None:
        stopped.set()
        restore()  # whoever asks once more does not want to wait

    for name in before:
        signal.signal(name, stop)
    try:
        yield stopped
    finally:
        restore()


@contextmanager
def until_nobody_reads(stdout: Any) -> Iterator[None]:
    """End what is done here quietly when the reader of `stdout` has gone, as `head` goes."""
    try:
        yield
        stdout.flush()
    except BrokenPipeError:
        # What is left in the buffer is written at the end of the process, which would complain.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stdout.fileno())
        os.close(nowhere)

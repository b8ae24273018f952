"""How far a long command is: a bar where rich is installed and a person looks on, else lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

STEPS: Final = 10

ShowProgress = Callable[[int], None]


@contextmanager
def progress_on(stdout: Any, total: int) -> Iterator[ShowProgress]:
    """Yield what is called with the number of things done, out of `total`.

    `stdout` is a command's own. On a terminal, and with the package rich, it draws a bar;
    otherwise it writes a line at each tenth.
    """
    if not stdout.isatty():
        yield _lines_on(stdout, total)
        return
    try:
        from rich.console import Console  # noqa: PLC0415  # an extra
        from rich.progress import MofNCompleteColumn, Progress  # noqa: PLC0415  # an extra
    except ImportError:
        yield _lines_on(stdout, total)
        return
    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    with Progress(*columns, console=Console(file=stdout)) as bar:
        task = bar.add_task("Deliveries", total=total)
        yield lambda done: bar.update(task, completed=done)


def _lines_on(stdout: Any, total: int) -> ShowProgress:
    written = 0

    def show(done: int) -> None:
        nonlocal written
        step = done * STEPS // max(total, 1)
        if step > written:
            written = step
            stdout.write(f"{done} of {total}")

    return show

"""How much memory the processes have that this one has started."""

from __future__ import annotations

import os
import re
from pathlib import Path


def resident_megabytes(*, peak: bool = False) -> float:
    """Return what the largest process below this one has in memory, now or at most so far."""
    parents: dict[int, int] = {}
    sizes: dict[int, int] = {}
    field = "VmHWM" if peak else "VmRSS"
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            told = status.read_text()
        except OSError:  # it has ended
            continue
        process = int(status.parent.name)
        found = re.search(rf"^{field}:\s+(\d+) kB", told, re.MULTILINE)
        parent = re.search(r"^PPid:\s+(\d+)", told, re.MULTILINE)
        parents[process] = int(parent[1]) if parent else 0
        sizes[process] = int(found[1]) if found else 0
    below = (size for process, size in sizes.items() if _is_below(process, parents))
    return max(below, default=0) / 1024


def _is_below(process: int, parents: dict[int, int]) -> bool:
    while process := parents.get(process, 0):
        if process == os.getpid():
            return True
    return False

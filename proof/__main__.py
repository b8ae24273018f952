"""Run every part of the proof, and print one table.

`python -m proof [part …]`
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from typing import Final

from . import database_away, kills, upgrades
from .conformance import matrix
from .fuzz import part
from .table import Row, table

PARTS: Final[Mapping[str, Callable[[], list[Row]]]] = {
    "conformance": matrix.run,
    "database-away": database_away.run,
    "kills": kills.run,
    "upgrades": upgrades.run,
    "fuzz": part.run,
}


def main(arguments: list[str] | None = None) -> int:
    """Return 0 if nothing was lost, and nothing wrong."""
    parser = argparse.ArgumentParser(prog="python -m proof", description=__doc__)
    parser.add_argument("part", nargs="*", metavar="part", help=", ".join(PARTS))
    options = parser.parse_args(arguments)
    if unknown := set(options.part) - PARTS.keys():
        parser.error(f"There is no part {', '.join(sorted(unknown))}: {', '.join(PARTS)}.")
    rows: list[Row] = []
    for name, run in PARTS.items():
        if not options.part or name in options.part:
            print(f"Running {name} …", flush=True)
            rows += run()
    print(f"\n{table(rows)}")
    return 0 if all(row.holds for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())

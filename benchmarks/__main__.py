"""Measures speed beside peers: `python -m benchmarks`, or `make bench ARGS=--full`.

Ratios of what was measured in turns in one run are what counts. The absolute figures beside them
hold for the machine and the moment alone.
"""

from __future__ import annotations

import argparse
import time
from importlib import import_module
from pathlib import Path
from typing import Final

from .page import write_page
from .table import Figure, Report, print_report

# The modules, each with `run(*, full: bool) -> Report`, and what they are about.
PARTS: Final = {
    "receiving": "Receiving beside peers",
    "handing_over": "Handing over, and answers beside slow receivers",
    "repeats": "Repeats and forgeries",
    "asynchronous": "ASGI",
    "sqlite": "SQLite",
    "processing": "Processing and replay",
    "sizes": "Bytes on the disk",
}
# Parts that take too long for each run.
FULL_PARTS: Final = {
    "memory": "Memory",
    "large": "A million deliveries",
}


def main() -> None:
    """Run the parts that are asked for, print their tables, and name what misses its limit."""
    parts = {**PARTS, **FULL_PARTS}
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--full", action="store_true", help="everything; takes much longer")
    parser.add_argument(
        "--only", action="append", choices=sorted(parts), help="this part; can be repeated"
    )
    parser.add_argument(
        "--write", type=Path, metavar="docs/speed.md", help="put the tables and plots into a page"
    )
    options = parser.parse_args()
    chosen = options.only or [*PARTS, *(FULL_PARTS if options.full else ())]
    missed: list[Figure] = []
    for name in chosen:
        began = time.monotonic()
        print(f"\n{parts[name]}\n", flush=True)
        report: Report = import_module(f"benchmarks.{name}").run(full=options.full)
        print_report(report)
        print(f"\n{time.monotonic() - began:.0f} s", flush=True)
        missed += [each for each in report.figures if not each.holds]
        if options.write:
            how = "--full " if options.full else ""
            write_page(options.write, name, parts[name], report, f"{how}--only {name}")
    print(f"\n{len(missed)} miss their limit.")
    for each in missed:
        print(f"  {each.name}: {each.ratio:.2f}, not {each.cells[4]}")


if __name__ == "__main__":
    main()

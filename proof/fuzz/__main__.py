"""Fuzz the receiver for some minutes: `python -m proof.fuzz --minutes 10 --seed 7`."""

from __future__ import annotations

import argparse
import sys

from proof.table import table

from .part import MINUTES, run, run_again


def main(arguments: list[str] | None = None) -> int:
    """Run what the command line asks for, print what was tried and found; 1 for a finding."""
    parser = argparse.ArgumentParser(prog="python -m proof.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=MINUTES, help="how long, in all (10)")
    parser.add_argument("--seed", type=int, help="the seed of a run before, to repeat it")
    parser.add_argument("--again", metavar="SEED/NUMBER", help="one input in process, by its seed")
    options = parser.parse_args(arguments)
    if options.again:
        return 0 if run_again(options.again) else 1
    rows = run(minutes=options.minutes, seed=options.seed)
    print(table(rows))
    return 0 if all(row.holds for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())

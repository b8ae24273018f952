"""Run the scenarios: against all that the repository has, or against a receiver of your own.

`python -m proof.conformance [--write]`
`python -m proof.conformance --url <address> --secret <secret> [--secret <older secret>]`
"""

from __future__ import annotations

import argparse
import sys

from proof.table import table

from .matrix import Matrix, matrix, remote_verdicts
from .page import PAGE, caught_on, page
from .receiver import RemoteReceiver


def main(arguments: list[str] | None = None) -> int:
    """Return 0 if all is as it has to be."""
    parser = argparse.ArgumentParser(prog="python -m proof.conformance", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write docs/conformance.md anew")
    parser.add_argument("--url", help="the address of a receiver of your own, http://…")
    parser.add_argument(
        "--secret", action="append", help="a secret that it knows; again for an older one"
    )
    options = parser.parse_args(arguments)
    if bool(options.url) != bool(options.secret) or (options.url and options.write):
        parser.error("--url and --secret go together, and without --write.")
    if options.url:
        if not options.url.startswith("http://"):
            parser.error("The address has to begin with http://.")
        return _judge(RemoteReceiver(url=options.url, secrets=tuple(options.secret)))
    return _run(is_written=options.write)


def _judge(receiver: RemoteReceiver) -> int:
    verdicts = remote_verdicts(receiver)
    for name, violation in verdicts.items():
        print(f"{'ok   ' if violation is None else 'WRONG'}  {name}")
        if violation is not None:
            print(f"       {violation}")
    stood = sum(violation is None for violation in verdicts.values())
    print(f"\n{stood} of {len(verdicts)} scenarios are stood.")
    return 0 if stood == len(verdicts) else 1


def _run(*, is_written: bool) -> int:
    result = matrix()
    print(table(result.rows))
    _tell_violations(result)
    if is_written:
        PAGE.write_text(page(result.caught))
    committed = caught_on(PAGE.read_text())
    changed = [flaw for flaw, names in result.caught.items() if names != committed.get(flaw)]
    if changed:
        print(f"\n{PAGE.name} says otherwise of {', '.join(changed)}: see --write.")
    return 0 if all(row.holds for row in result.rows) and not changed else 1


def _tell_violations(result: Matrix) -> None:
    for name, verdicts in {**result.apps, "the honest receiver": result.honest}.items():
        for scenario, violation in verdicts.items():
            if violation is not None:
                print(f"\n{name}, {scenario}: {violation}")


if __name__ == "__main__":
    sys.exit(main())

"""Runs the whole suite on each database, and says last which ones it ran on.

`python -m tests [arguments of pytest]`
"""

from __future__ import annotations

import re
import subprocess
import sys

MINIMUM_COVERAGE = 97

# The kill tests want the machine to themselves, and print their figures. On SQLite only the
# database worker is an engine of its own: the others keep their queue elsewhere. To a browser, and
# to what is marked so, it makes no difference which database there is.
REST = ("-m", "not kill and not browser and not once and not engine", "-n", "auto", "-q")
# To count lines makes tests take nearly twice as long, and those of the quickest database tell of
# all.
COUNTED = (
    *("-m", "not kill and not browser and not once"),
    *("-k", "not test_engines or db", "-n", "auto", "-q"),
)
ONCE = (
    *("-m", "(browser or once or engine) and not kill"),
    *("-n", "4", "--dist", "worksteal", "-q"),
)
KILLS = ("-m", "kill", "-q")
KILLS_OF_EACH = ("-m", "kill and not once", "-q")
PARTS = {
    "sqlite": (COUNTED, KILLS_OF_EACH),
    "postgresql": (REST, ONCE, KILLS),
}
COVERAGE = ("-m", "coverage", "run")


def main(arguments: list[str]) -> int:
    run("coverage", "erase")
    exercised = []
    for database, parts in PARTS.items():
        lines = ""
        for part in [arguments] if arguments else parts:
            how = COVERAGE if arguments or part == COUNTED else ()
            command = (*how, "-m", "pytest", "--database", database, *part)
            lines, status = run_and_read("-X", "dev", *command)
            if status != 0:
                print(f"The suite failed on {database}.")
                return status
        exercised += re.findall(r"^The suite ran on (.*)\.$", lines, re.MULTILINE)
    run("coverage", "combine", "--quiet")
    fail_under = [] if arguments else [f"--fail-under={MINIMUM_COVERAGE}"]
    status = run("coverage", "report", *fail_under)
    print("\nDatabases exercised:", *exercised, sep="\n  ")
    return status if len(exercised) == len(PARTS) else 1


def run(module: str, *arguments: str) -> int:
    return subprocess.run([sys.executable, "-m", module, *arguments], check=False).returncode


def run_and_read(*arguments: str) -> tuple[str, int]:
    """Run Python, passing its output on while keeping it."""
    read = []
    with subprocess.Popen(
        [sys.executable, *arguments], stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            read.append(line)
    return "".join(read), process.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

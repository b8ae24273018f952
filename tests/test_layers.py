from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import perfsee_webhooks

PACKAGE = Path(perfsee_webhooks.__file__).parent
MAX_LINES = 350

# From the ground up: a module imports from the rows above it only. Where modules of one layer
# build on each other, the layer has several rows.
ROWS = (
    {"exceptions", "text", "events", "rates", "javascript", "outage"},
    {"conf"},
    {"templatetags", "payloads", "log"},
    {"signals", "signatures", "samples", "comparison"},
    {"summaries"},
    {"envelope"},
    {"sending", "agreement", "verification"},
    {"snippets"},
    {"models"},
    {"leases", "history", "acceptance", "diagnosis", "selection", "export", "spool"},
    {"stats"},
    {"overview"},
    {"processing"},
    {"tasks"},
    {"replay"},
    {"sweep", "doctor", "pruning"},
    {"views", "admin", "api", "management", "health", "prometheus"},
    {"urls", "handlers"},
    {"checks"},
    {"apps"},
    # What a site's own tests import, and nothing else.
    {"testing"},
    {"pytest_plugin"},
)
ROW_OF = {name: number for number, row in enumerate(ROWS) for name in row}

# Django with what it brings along, and what one part exists for: the API for REST framework,
# the hand-over for Django Tasks, which is a package of its own before Django 6, and the commands
# for the bar that rich draws.
ALLOWED = {"django", "asgiref", "perfsee_webhooks"}
ALLOWED_IN = {
    "api": {"rest_framework", "django_filters", "drf_spectacular"},
    "health": {"health_check"},
    "prometheus": {"prometheus_client"},
    "tasks": {"django_tasks"},
    "management": {"rich"},
    "pytest_plugin": {"pytest"},
}

# Colorama only where it is installed.
IMPORTED_BY_DJANGO = {"sqlparse", "colorama"}

IMPORT_PACKAGE = "import perfsee_webhooks"
IMPORT_APP = """
import django
from django.conf import settings

apps = ["django.contrib.contenttypes", "django.contrib.auth", "perfsee_webhooks"]
settings.configure(INSTALLED_APPS=apps)
django.setup()
import perfsee_webhooks.urls
"""

MODULES = sorted(
    path.relative_to(PACKAGE).as_posix()
    for path in PACKAGE.rglob("*.py")
    if "migrations" not in path.parts
)


def imports_of(module: str) -> Iterator[str]:
    """Yield the absolute dotted names that a module imports, wherever in it that is."""
    path = PACKAGE / module
    package = ["perfsee_webhooks", *path.relative_to(PACKAGE).parent.parts]
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            dotted = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{dotted}.{alias.name}" for alias in node.names)


def part_of(module: str) -> str:
    """Name what has a row: a module at the top of the package, or a whole package in it."""
    return module.split("/", maxsplit=1)[0].removesuffix(".py")


@pytest.mark.parametrize("module", [name for name in MODULES if name != "__init__.py"])
def test_layers__imports_come_from_the_rows_above(module):
    part = part_of(module)
    assert part in ROW_OF, "a new module needs a row"
    imported = {
        name.split(".")[1] for name in imports_of(module) if name.startswith("perfsee_webhooks.")
    }
    above = set().union(*ROWS[: ROW_OF[part]])
    assert imported - {part} - above == set()


@pytest.mark.parametrize("module", MODULES)
def test_layers__nothing_from_outside_but_django(module):
    imported = {name.split(".")[0] for name in imports_of(module)}
    allowed = ALLOWED | ALLOWED_IN.get(part_of(module), set())
    assert imported - allowed - sys.stdlib_module_names == set()


@pytest.mark.parametrize("program", [IMPORT_PACKAGE, IMPORT_APP], ids=["package", "app"])
def test_layers__importing_needs_nothing_but_django(program):
    known = "import json, sys\nbefore = set(sys.modules)\n"
    report = "\nprint(json.dumps(sorted(set(sys.modules) - before)))"
    printed = subprocess.run(
        [sys.executable, "-c", known + program + report],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    imported = {name.split(".")[0] for name in json.loads(printed)}
    assert "perfsee_webhooks" in imported
    outside = imported - ALLOWED - IMPORTED_BY_DJANGO - sys.stdlib_module_names
    assert {name for name in outside if not name.startswith("_sysconfigdata")} == set()


def test_layers__no_module_is_long():
    lengths = {name: len((PACKAGE / name).read_bytes().splitlines()) for name in MODULES}
    assert {name: lines for name, lines in lengths.items() if lines > MAX_LINES} == {}

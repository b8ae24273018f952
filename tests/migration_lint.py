"""Which migrations a site with millions of deliveries can apply while it receives.

The statements that a migration runs on PostgreSQL are judged by squawk, a linter of SQL, and
what no single statement shows is judged here. A finding says what to do instead.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from django.apps.registry import Apps
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration, RunPython
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations import SeparateDatabaseAndState
from django.db.migrations.operations.base import Operation

import perfsee_webhooks

APP: Final = "perfsee_webhooks"
FOLDER: Final = Path(perfsee_webhooks.__file__).parent / "migrations"

# Each release adds its migrations here with the SHA-256 of their files: they never change again.
RELEASED: Final[Mapping[str, str]] = {}

_SQUAWK: Final = Path(sysconfig.get_path("scripts")) / "squawk"
_OLDEST_POSTGRESQL: Final = "14.0"

_CONCURRENTLY: Final = (
    "Use what builds and removes it concurrently in proof/rehearsal/operations.py, alone in a "
    "migration with atomic = False."
)
_DB_DEFAULT: Final = (
    "Give the field null=True or a db_default: Django takes a default of its own away again, and "
    "then the release before can insert no row."
)
_NOT_VALID: Final = (
    "Add it as NOT VALID, which checks new rows alone, and validate it in a migration after that."
)
_BESIDE: Final = (
    "Add a new column beside it, write to both, and remove the old one two releases later."
)
_KEEP_THE_NAME: Final = (
    "The release before asks for the old name: keep it, with db_column or db_table."
)
_RETIRE: Final = (
    "The release before still asks for it: take it out of the models first, as a state operation "
    "alone, and drop it two releases later."
)
_BATCHES: Final = (
    "Go through the rows in batches, by RunPython alone in a migration with atomic = False."
)

# Other rules of squawk are about style, or about what takes a lock for a moment only.
_INSTEAD: Final[Mapping[str, str]] = {
    "adding-field-with-default": (
        "Give the field null=True, or a db_default that is one value for all rows, and fill in "
        "the rest in batches."
    ),
    "adding-foreign-key-constraint": _NOT_VALID,
    "adding-not-nullable-field": _DB_DEFAULT,
    "adding-required-field": _DB_DEFAULT,
    "adding-serial-primary-key-field": _BESIDE,
    "ban-drop-column": _RETIRE,
    "ban-drop-default": _DB_DEFAULT,
    "ban-drop-table": _RETIRE,
    "ban-truncate-cascade": _BATCHES,
    "changing-column-type": _BESIDE,
    "constraint-missing-not-valid": _NOT_VALID,
    "disallowed-unique-constraint": (
        "Build a unique index concurrently, and make it the constraint's by USING INDEX in a "
        "migration after that."
    ),
    "prefer-repack": "Leave it to the site's own maintenance.",
    "renaming-column": _KEEP_THE_NAME,
    "renaming-table": _KEEP_THE_NAME,
    "require-concurrent-index-creation": _CONCURRENTLY,
    "require-concurrent-index-deletion": _CONCURRENTLY,
    "require-concurrent-reindex": _CONCURRENTLY,
    "syntax-error": "Write SQL that PostgreSQL understands.",
}

_ROWS: Final = re.compile(r"(UPDATE|DELETE|INSERT|MERGE|TRUNCATE|LOCK)\b", re.IGNORECASE)
_VALIDATED: Final = re.compile(r"VALIDATE CONSTRAINT", re.IGNORECASE)
_DROPPED: Final = re.compile(
    r'(?:ALTER TABLE "(?P<table>\w+)" DROP COLUMN|DROP TABLE)(?: IF EXISTS)? "(?P<name>\w+)"'
)
# It is the same in all rows of a statement, which PostgreSQL knows and squawk does not.
_MOMENT: Final = re.compile(r"ADD COLUMN .* DEFAULT \(STATEMENT_TIMESTAMP\(\)\)")
# PostgreSQL checks no reference in a new column that is empty in every row.
_EMPTY_REFERENCE: Final = re.compile(r"ADD COLUMN \S+ \S+ NULL CONSTRAINT \S+ REFERENCES")


def names() -> list[str]:
    """Return the names of all migrations, in their order."""
    return sorted(file.stem for file in FOLDER.glob("[0-9]*.py"))


def changed(released: Mapping[str, str] = RELEASED) -> list[str]:
    """Return the released migrations whose files are gone, or not what was released."""
    files = {name: FOLDER / f"{name}.py" for name in released}
    return [
        name
        for name, file in files.items()
        if not file.exists() or hashlib.sha256(file.read_bytes()).hexdigest() != released[name]
    ]


def first_released(released: Mapping[str, str] = RELEASED) -> str:
    """Return the oldest migration that a site can have stopped at."""
    return min(released, default=names()[0])


def last_released(released: Mapping[str, str] = RELEASED) -> str:
    """Return the migration that the release before this code ends with; the first if none is."""
    return max(released, default=names()[0])


def findings(
    migration: Migration, connection: BaseDatabaseWrapper, released: Mapping[str, str] = RELEASED
) -> list[str]:
    """Return what is wrong with a migration, each with what to do instead.

    The connection is to a PostgreSQL whose tables are as they are just before the migration.
    """
    loader = MigrationLoader(None)
    state = loader.project_state(migration.dependencies or None)
    with connection.schema_editor(collect_sql=True, atomic=migration.atomic) as editor:
        migration.apply(state.clone(), editor, collect_sql=True)
    statements = [
        " ".join(statement.split())
        for statement in editor.collected_sql
        if not statement.startswith("--")
    ]
    before = loader.project_state((APP, last_released(released))).apps
    found = [
        *_wrong_operations(migration),
        *_wrong_statements(statements),
        *_by_squawk(statements, before, is_atomic=migration.atomic),
    ]
    return [f"{migration.name}: {one}" for one in found]


def _wrong_operations(migration: Migration) -> Iterator[str]:
    operations = list(_flat(migration.operations))
    if not migration.atomic and len(operations) > 1:
        yield (
            "If one operation fails, those before it stay, and it cannot be run again. Without a "
            "transaction a migration holds one operation only."
        )
    for operation in operations:
        if not operation.reversible:
            yield (
                f"{operation.describe()}: It cannot be taken back. Give it reverse_code or "
                "reverse_sql, which may be noop."
            )
        if isinstance(operation, RunPython) and (migration.atomic or operation.atomic):
            yield f"{operation.describe()}: It keeps the locks of all its rows. {_BATCHES}"


def _flat(operations: Sequence[Operation]) -> Iterator[Operation]:
    for operation in operations:
        if isinstance(operation, SeparateDatabaseAndState):
            yield from _flat(operation.database_operations)
        else:
            yield operation


def _wrong_statements(statements: list[str]) -> Iterator[str]:
    for statement in statements:
        if _ROWS.match(statement):
            yield f"{statement}: It changes or locks rows in one transaction. {_BATCHES}"
        if _VALIDATED.search(statement) and len(statements) > 1:
            yield (
                f"{statement}: It reads the whole table under the locks of what comes before. "
                "Validate it in a migration of its own."
            )


def _by_squawk(statements: list[str], before: Apps, *, is_atomic: bool) -> Iterator[str]:
    in_transaction = "--assume-in-transaction" if is_atomic else "--no-assume-in-transaction"
    ran = subprocess.run(
        [str(_SQUAWK), "--reporter=json", f"--pg-version={_OLDEST_POSTGRESQL}", in_transaction]
        + ["--stdin-filepath=migration.sql"],
        input="\n".join(statements),
        capture_output=True,
        check=False,
        text=True,
    )
    if ran.returncode not in (0, 1):
        raise RuntimeError(ran.stderr)
    for one in json.loads(ran.stdout):
        statement, rule = statements[one["line"]], one["rule_name"]
        if rule in _INSTEAD and not _is_harmless(rule, statement, before):
            yield f"{statement} {one['message']} {_INSTEAD[rule]}"


def _is_harmless(rule: str, statement: str, before: Apps) -> bool:
    if rule == "adding-foreign-key-constraint":
        return _EMPTY_REFERENCE.search(statement) is not None
    if rule == "adding-field-with-default":
        return _MOMENT.search(statement) is not None
    dropped = _DROPPED.match(statement)
    if rule not in ("ban-drop-column", "ban-drop-table") or dropped is None:
        return False
    tables = {model._meta.db_table: model for model in before.get_models()}
    if dropped["table"] is None:
        return dropped["name"] not in tables
    model = tables.get(dropped["table"])
    return model is None or dropped["name"] not in {f.column for f in model._meta.local_fields}

"""Operations that let writers go on, on each database that the app supports.

Those of `django.contrib.postgres` know PostgreSQL only, and cannot be imported without psycopg.
"""

from __future__ import annotations

from typing import Any

from django.db import NotSupportedError
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations import AddIndex, RemoveIndex
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from django.db.models import Index, Model


class _Online(Operation):
    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        super().database_forwards(app_label, _online(schema_editor), from_state, to_state)

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        super().database_backwards(app_label, _online(schema_editor), from_state, to_state)


class AddIndexOnline(_Online, AddIndex):
    """Build an index: on PostgreSQL concurrently, elsewhere as `AddIndex` does.

    It can be run again after it was interrupted, which leaves an index that is not valid.

    Raises:
        NotSupportedError: the migration has not `atomic = False`.
    """


class RemoveIndexOnline(_Online, RemoveIndex):
    """Remove an index: on PostgreSQL concurrently, elsewhere as `RemoveIndex` does.

    Raises:
        NotSupportedError: the migration has not `atomic = False`.
    """


def _online(editor: BaseDatabaseSchemaEditor) -> Any:
    return _OnlineEditor(editor) if editor.connection.vendor == "postgresql" else editor


class _OnlineEditor:
    """What the operations above ask of a schema editor, concurrently."""

    def __init__(self, editor: BaseDatabaseSchemaEditor) -> None:
        if editor.connection.in_atomic_block:
            raise NotSupportedError("A migration that works online has atomic = False.")
        self.connection = editor.connection
        self._editor = editor

    def add_index(self, model: type[Model], index: Index) -> None:
        self.remove_index(model, index)  # what is left of an attempt that was interrupted
        statement: Any = index.create_sql
        self._run(statement(model, self._editor, concurrently=True))

    def remove_index(self, _model: type[Model], index: Index) -> None:
        name = self._editor.quote_name(index.name)
        self._run(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")

    def _run(self, statement: Any) -> None:
        # It waits for older transactions, but nobody waits for it: a limit is for other statements.
        self._editor.execute("SET lock_timeout = 0")
        self._editor.execute(statement, params=None)
        self._editor.execute("RESET lock_timeout")

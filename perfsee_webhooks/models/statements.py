"""Statements that Django's ORM makes once for each database, and that are sent many times.

To make one anew for each delivery takes longer than all else that is done with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from functools import cache
from itertools import chain
from typing import Any, NamedTuple

from django.db import IntegrityError, connections, models
from django.db.backends.utils import CursorWrapper
from django.db.models.constants import OnConflict
from django.db.models.sql import InsertQuery, Query, UpdateQuery


class Given(models.Value):
    """Stands in a query for a value of a field that is given when the query is sent."""

    def __init__(self, name: str, field: Any) -> None:
        super().__init__(name, output_field=field)

    @classmethod
    def of(cls, model: type[models.Model], name: str, *, column: str = "") -> Any:
        """Return one for a column of a model, under its name or another one.

        To a type checker it is the value that it stands for.
        """
        return cls(name, model._meta.get_field(column or name))

    def as_sql(self, _compiler: Any, _connection: Any) -> Any:
        """Take the place of one parameter."""
        return "%s", [self]

    @property
    def preparing(self) -> Callable[[Any, Any], Any] | None:
        """What makes of a value what the driver of a connection takes; None for mere text."""
        field = self.output_field
        is_text = isinstance(field, models.CharField | models.TextField) and not field.choices
        return None if is_text else field.get_db_prep_save


class _Parameter(NamedTuple):
    """A value that is always the same, or the name of one that is given, and its preparing."""

    fixed: Any = None
    name: str = ""
    prepare: Callable[[Any, Any], Any] | None = None

    @classmethod
    def of(cls, parameter: Any) -> _Parameter:
        if isinstance(parameter, Given):
            return cls(name=parameter.value, prepare=parameter.preparing)
        return cls(fixed=parameter)


class _Made(NamedTuple):
    """What is kept of a statement for one database."""

    sql: str
    parameters: tuple[_Parameter, ...]
    compiler: Any


class Statement:
    """A query with a `Given` for each value that differs from time to time."""

    def __init__(self, query: Query) -> None:
        self._query = query
        self._made: dict[str, _Made] = {}

    @contextmanager
    def sent(self, using: str, **given: Any) -> Iterator[CursorWrapper]:
        """Send it to a database with these values, and lend the cursor.

        Raises:
            DatabaseError: the database did not take it.
        """
        made, connection = self._made_for(using), connections[using]
        values = [
            (prepare(given[name], connection) if prepare else given[name]) if name else fixed
            for fixed, name, prepare in made.parameters
        ]
        with connection.cursor() as cursor:
            with _kept_by_the_server(connection):
                cursor.execute(made.sql, values)
            yield cursor

    def change(self, using: str, **given: Any) -> int:
        """Send an UPDATE; return how many rows it found."""
        with self.sent(using, **given) as cursor:
            return int(cursor.rowcount)

    def rows(self, using: str, **given: Any) -> list[list[Any]]:
        """Send a SELECT of named values; return them as Django would."""
        with self.sent(using, **given) as cursor:
            found = cursor.fetchall()
        made = self._made_for(using)
        compiler = copy(made.compiler)
        compiler.connection = connections[using]
        selected = [expression for expression, *_names in compiler.select]
        return list(compiler.apply_converters(found, compiler.get_converters(selected)))

    def _made_for(self, using: str) -> _Made:
        if using not in self._made:
            compiler = self._compiler(using)
            sql, parameters = self._as_sql(compiler)
            compiler.connection = None  # each thread has its own
            self._made[using] = _Made(sql, tuple(map(_Parameter.of, parameters)), compiler)
        return self._made[using]

    def _compiler(self, using: str) -> Any:
        return self._query.clone().get_compiler(using=using)

    def _as_sql(self, compiler: Any) -> tuple[str, Sequence[Any]]:
        made: Any = compiler.as_sql()
        # An INSERT could be several.
        sql, parameters = made[0] if isinstance(made, list) else made
        return sql, parameters


@contextmanager
def _kept_by_the_server(connection: Any) -> Iterator[None]:
    """Have psycopg 3 keep on the server what is sent, unless it is to keep nothing.

    That is what Django tells it where `OPTIONS` do not. To these statements it does no harm that
    the server then has one plan for all values.
    """
    driver = connection.connection
    usual = getattr(driver, "prepare_threshold", None)
    if usual is None:
        yield
        return
    driver.prepare_threshold = 0
    try:
        yield
    finally:
        driver.prepare_threshold = usual


class Returning(Statement):
    """An UPDATE that returns the values of a SELECT from each row that it has changed."""

    def __init__(self, update: UpdateQuery, values: Query) -> None:
        super().__init__(values)
        self._update = update

    @staticmethod
    def is_taken_by(using: str) -> bool:
        """Say whether a database takes one. Of MariaDB no UPDATE returns anything."""
        connection = connections[using]
        return (
            connection.vendor in {"postgresql", "sqlite"}
            and connection.features.can_return_columns_from_insert
        )

    def _as_sql(self, compiler: Any) -> tuple[str, Sequence[Any]]:
        compiler.pre_sql_setup()
        sql, parameters = self._update.clone().get_compiler(using=compiler.using).as_sql()
        returned = [made for _expression, made, _alias in compiler.select]
        columns = ", ".join(column for column, _parameters in returned)
        of_columns = chain.from_iterable(given for _column, given in returned)
        return f"{sql} RETURNING {columns}", [*parameters, *of_columns]


class _Insert(Statement):
    """An INSERT of one row that names these columns.

    PostgreSQL finds a broken rule of uniqueness before it writes anything, which is cheaper than an
    INSERT that fails. What other databases have in its place passes other broken rules over, too.
    """

    def __init__(self, model: type[models.Model], names: tuple[str, ...]) -> None:
        super().__init__(_inserting(model, names))
        self._model = model

    def add(self, using: str, **given: Any) -> int:
        """Send it; return the row's primary key."""
        primary_key: Any = self._model._meta.pk
        connection = connections[using]
        table = self._model._meta.db_table
        with self.sent(using, **given) as cursor:
            if not connection.features.can_return_columns_from_insert:
                return int(connection.ops.last_insert_id(cursor, table, primary_key.column))
            returned = cursor.fetchone()
        if returned is None:
            raise IntegrityError(f"A row of {table} that has to be unique is there already.")
        return int(returned[0])

    def _compiler(self, using: str) -> Any:
        compiler = super()._compiler(using)
        if connections[using].vendor == "postgresql":
            compiler.query.on_conflict = OnConflict.IGNORE
        compiler.returning_fields = [self._model._meta.pk]
        return compiler


def insert(model: type[models.Model], values: Mapping[str, Any], *, using: str) -> int:
    """Insert a row with these values by the names of their fields; return its primary key.

    The other columns get what the database has as their default. Like `bulk_create`, this sends
    no `pre_save` and no `post_save`.

    Raises:
        IntegrityError: it breaks a rule, for instance that of uniqueness.
        DatabaseError: the database did not take it.
    """
    return _insert_of(model, tuple(values)).add(using, **values)


def updating(rows: models.QuerySet[Any], **changes: Any) -> UpdateQuery:
    """Return the UPDATE that `rows.update(**changes)` would send."""
    query: Any = rows.query.chain(UpdateQuery)
    query.add_update_values(changes)
    return query  # type: ignore[no-any-return]  # what `chain` returns, django-stubs do not know


@cache
def column_names(model: type[models.Model], *, without: str = "") -> tuple[str, ...]:
    """Return the names of a model's columns, in their order, without one of them."""
    names = (field.attname for field in model._meta.concrete_fields)
    return tuple(name for name in names if name != without)


@cache
def _insert_of(model: type[models.Model], names: tuple[str, ...]) -> _Insert:
    return _Insert(model, names)


def _inserting(model: type[models.Model], names: tuple[str, ...]) -> InsertQuery:
    fields: list[Any] = [model._meta.get_field(name) for name in names]
    row = model()
    for name, field in zip(names, fields, strict=True):
        setattr(row, field.attname, Given(name, field))
    query = InsertQuery(model)
    query.insert_values(fields, [row])
    return query

"""Insert one row with a statement that is made once.

`Model.save` makes it anew for each row, which takes longer than all else that is done with a
request. Like `bulk_create`, this sends no `pre_save` and no `post_save`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

from django.db import connections, models
from django.db.models.sql import InsertQuery

_Row = TypeVar("_Row", bound=models.Model)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Column:
    """A column with the default of its field, as Python and as the database has it."""

    field: models.Field[Any, Any]
    name: str
    default: Any
    stored_default: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class _Insert:
    """The INSERT of a model into one database: its text, and the columns that it takes."""

    sql: str
    columns: tuple[_Column, ...]


@cache
def _insert_into(model: type[models.Model], using: str) -> _Insert:
    fields = [field for field in model._meta.concrete_fields if not field.primary_key]
    query = InsertQuery(model)
    query.insert_values(fields, [model()])
    compiler = query.get_compiler(using=using)
    compiler.returning_fields = [model._meta.pk]
    ((sql, _),) = compiler.as_sql()
    return _Insert(sql=sql, columns=tuple(_column(field, using) for field in fields))


def _column(field: models.Field[Any, Any], using: str) -> _Column:
    default = field.get_default()
    return _Column(
        field=field,
        name=field.attname,
        default=default,
        stored_default=field.get_db_prep_save(default, connections[using]),
    )


def insert(model: type[_Row], values: Mapping[str, Any], *, using: str) -> _Row:
    """Insert a row with these values by the names of their columns, and return it.

    The others have the default of their field, which must not change.

    Raises:
        DatabaseError: the database did not take it.
    """
    connection, known, key = connections[using], _insert_into(model, using), model._meta.pk
    row, stored = [], []
    for column in known.columns:
        if column.name in values:
            row.append(values[column.name])
            stored.append(column.field.get_db_prep_save(values[column.name], connection))
        else:
            row.append(column.default)
            stored.append(column.stored_default)
    with connection.cursor() as cursor:
        cursor.execute(known.sql, stored)
        if connection.features.can_return_columns_from_insert:
            (primary_key,) = cursor.fetchone()
        else:
            primary_key = connection.ops.last_insert_id(
                cursor, model._meta.db_table, str(key.column)
            )
    names = [key.attname, *(column.name for column in known.columns)]
    return model.from_db(using, names, [primary_key, *row])

"""Insert one row with a statement that is made once.

`Model.save` makes it anew for each row, which takes longer than all else that is done with a
request, and names every column. Like `bulk_create`, this sends no `pre_save` and no `post_save`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from django.db import connections, models
from django.db.models.sql import InsertQuery


@dataclass(frozen=True, slots=True, kw_only=True)
class _Insert:
    """The INSERT of some columns of a model into one database, with the field of each.

    It is None for text, which needs no preparing.
    """

    sql: str
    fields: tuple[models.Field[Any, Any] | None, ...]


@cache
def _insert_into(model: type[models.Model], names: tuple[str, ...], using: str) -> _Insert:
    named: list[Any] = [model._meta.get_field(name) for name in names]
    query = InsertQuery(model)
    query.insert_values(named, [model()])
    compiler = query.get_compiler(using=using)
    compiler.returning_fields = [model._meta.pk]
    ((sql, _),) = compiler.as_sql()
    is_text = (models.CharField, models.TextField)
    fields = tuple(None if isinstance(field, is_text) else field for field in named)
    return _Insert(sql=sql, fields=fields)


def insert(model: type[models.Model], values: Mapping[str, Any], *, using: str) -> int:
    """Insert a row with these values by the names of their fields, and return its primary key.

    The other columns get what the database has as their default.

    Raises:
        DatabaseError: the database did not take it, for instance for want of a default.
    """
    connection, known = connections[using], _insert_into(model, tuple(values), using)
    stored = [
        value if field is None else field.get_db_prep_save(value, connection)
        for field, value in zip(known.fields, values.values(), strict=True)
    ]
    with connection.cursor() as cursor:
        cursor.execute(known.sql, stored)
        if connection.features.can_return_columns_from_insert:
            (primary_key,) = cursor.fetchone()
        else:
            table, column = model._meta.db_table, str(model._meta.pk.column)
            primary_key = connection.ops.last_insert_id(cursor, table, column)
    return int(primary_key)

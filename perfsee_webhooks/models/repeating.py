"""Count a request that comes again, with an UPDATE that is made once, as `inserting` does."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import Any, Final

from django.db import connections, models
from django.db.models.functions import Concat
from django.db.models.sql import UpdateQuery

from ..envelope import Envelope
from .arrivals import Arrival

# Beyond these a repeat is only counted: whoever has a signed body can send it for ever.
MAX_LOGGED_REPEATS: Final = 100

# What the statement is made with, to find out which of its parameters is which.
_SLOTS: Final = {
    "delivery_id": "<delivery_id>",
    "body_sha256": "<body_sha256>",
    "line": "<line>",
    "received_at": datetime(1999, 12, 31, 23, 59, 59, tzinfo=UTC),
}


def count_repeat(model: type[models.Model], envelope: Envelope, *, using: str) -> bool:
    """Count an arrival on the row that came with an earlier one; False if there is none."""
    arrival = Arrival(envelope.received_at, envelope.hook_id, envelope.verified_by)
    given = {
        "delivery_id": envelope.delivery_id,
        "body_sha256": envelope.body_sha256,
        "line": arrival.line,
        "received_at": _stored_moment(model, envelope.received_at, using),
    }
    sql, parameters = _counting(model, using)
    with connections[using].cursor() as cursor:
        cursor.execute(sql, [given[name] if name else fixed for name, fixed in parameters])
        return bool(cursor.rowcount)


@cache
def _counting(model: type[models.Model], using: str) -> tuple[str, tuple[tuple[str, Any], ...]]:
    """Return the statement, and for each parameter what it is, or its value if that is fixed."""
    rows = model._default_manager.filter(
        delivery_id=_SLOTS["delivery_id"], body_sha256=_SLOTS["body_sha256"]
    ).exclude(received_at=_SLOTS["received_at"])
    query: Any = rows.query.chain(UpdateQuery)
    query.add_update_values(
        {
            # Before the number that it asks for: to MySQL, what is set first is set already.
            "repeat_log": models.Case(
                models.When(
                    repeats__lt=MAX_LOGGED_REPEATS,
                    then=Concat(
                        "repeat_log",
                        models.Value(_SLOTS["line"]),
                        output_field=models.TextField(),
                    ),
                ),
                default=models.F("repeat_log"),
            ),
            "repeats": models.F("repeats") + 1,
            "last_repeated_at": _SLOTS["received_at"],
        }
    )
    sql, parameters = query.get_compiler(using=using).as_sql()
    moment = _stored_moment(model, _SLOTS["received_at"], using)
    names = {**{value: name for name, value in _SLOTS.items()}, moment: "received_at"}
    return sql, tuple((names.get(fixed, ""), fixed) for fixed in parameters)


def _stored_moment(model: type[models.Model], moment: Any, using: str) -> Any:
    field: Any = model._meta.get_field("received_at")
    return field.get_db_prep_value(moment, connections[using])

"""Deliveries as NDJSON or CSV: a stream of any length from an amount of memory that does not grow.

Rows are read by their primary key, a batch in a statement of its own. A cursor on the server would
be lost behind a pooler that gives each transaction another connection, would keep a transaction
open for as long as the reader takes, and without one a driver loads the whole result first.
"""

from __future__ import annotations

import base64
import csv
import io
import json
import re
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.db.models.functions import Length
from django.http import HttpRequest, StreamingHttpResponse
from django.utils import timezone
from django.utils.cache import add_never_cache_headers

from .models import Delivery, DeliveryQuerySet
from .text import escaped

# How many rows are read at once, and how many bytes of their bodies; a larger one comes alone.
BATCH_SIZE: Final = 500
BATCH_BYTES: Final = 1024 * 1024

# The keys of an object and the columns of a table, in this order; to be added to at the end only.
COLUMNS: Final = (
    "id",
    "delivery_id",
    "event_type",
    "project",
    "hook_id",
    "state",
    "attempts",
    "branch",
    "commit_hash",
    "summary",
    "received_at",
    "settled_at",
    "next_attempt_at",
    "body_sha256",
    "body_pruned_at",
    "verified_by",
    "repeats",
    "last_repeated_at",
    "replay_id",
)

# What a spreadsheet takes for the beginning of a formula, the wide forms in some languages, and
# the apostrophe, so that the one put before each of these can be told from one that was there.
_FORMULA: Final = re.compile("[\t\r]|\\s*[-=+@\uff1d\uff0b\uff0d\uff20']")

# The end of a stream that breaks off, where the connection's end says nothing: no reader of JSON
# takes it for a line, and a quoted cell that is not closed is no end of a table.
_BROKEN_OFF: Final = '"This export broke off here: it is not complete.'

Row = dict[str, Any]


class Format(StrEnum):
    """What an export is written as; the value is also the end of its file's name."""

    NDJSON = "ndjson"
    CSV = "csv"

    @property
    def content_type(self) -> str:
        """The media type of a file of this format."""
        return {
            Format.NDJSON: "application/x-ndjson",
            Format.CSV: "text/csv; charset=utf-8; header=present",
        }[self]


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """Deliveries, and how they are to be written.

    deliveries: which ones; they are written by their primary keys, the lowest first
    format:     NDJSON, an object a line, or CSV
    with_body:  NDJSON with the exact body of each; who may see it is the caller's to say
    """

    deliveries: DeliveryQuerySet
    format: Format = Format.NDJSON
    with_body: bool = False

    def __post_init__(self) -> None:
        """Refuse bodies in a table.

        Raises:
            ValueError: the format is CSV, and bodies are asked for.
        """
        if self.with_body and self.format == Format.CSV:
            raise ValueError("CSV has no bodies: take NDJSON for them.")

    @property
    def filename(self) -> str:
        """A name for a file that is written now, such as `perfsee-deliveries-….csv`."""
        what = "deliveries-with-bodies" if self.with_body else "deliveries"
        return f"perfsee-{what}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.{self.format}"

    def chunks(self) -> Iterator[str]:
        """Yield the export in pieces of whole lines, up to what is stored at the first of them.

        Raises:
            DatabaseError: the database did not answer. What was yielded so far is right.
        """
        newest = Delivery.objects.using(self.deliveries.db).order_by("-pk")
        # Rows that come in meanwhile are not waited for: they may come faster than they are read.
        ceiling = newest.values_list("pk", flat=True).first() or 0
        ordered = self.deliveries.order_by("pk").filter(pk__lte=ceiling)
        as_line = _as_json_line if self.format == Format.NDJSON else _as_csv_line
        if self.format == Format.CSV:
            yield _as_csv_line({name: name for name in COLUMNS})
        for batch in _with_bodies(ordered) if self.with_body else _without_bodies(ordered):
            # An empty piece would be the end of a response in chunks; all may be gone by its turn.
            if lines := "".join(map(as_line, batch)):
                yield lines

    def response(self, request: HttpRequest) -> StreamingHttpResponse:
        """Return the export as a file to keep, streamed in the way that the server asks for."""
        chunks = _marked_where_broken(self.chunks())
        response = StreamingHttpResponse(
            # Of an iterator of the other kind Django would make a list first.
            _asynchronous(chunks) if isinstance(request, ASGIRequest) else chunks,
            content_type=self.format.content_type,
            headers={
                "Content-Disposition": f'attachment; filename="{self.filename}"',
                "X-Content-Type-Options": "nosniff",
            },
        )
        add_never_cache_headers(response)
        return response


def rows_of(deliveries: DeliveryQuerySet, *, with_body: bool = False) -> Iterable[Row]:
    """Return the columns of deliveries by name, in one statement."""
    rows: Iterable[Row] = deliveries.values(*COLUMNS, *(["body"] if with_body else []))
    return rows


def as_json(row: Row) -> str:
    """Return a row as a JSON object on one line, without a character that a terminal obeys.

    A body that is UTF-8 is in `body`, any other one in `body_base64`; of one that was pruned both
    are null.
    """
    value = {name: _plain(value) for name, value in row.items()}
    if "body" in row:
        value |= _body_as_json(row)
    return escaped(json.dumps(value, ensure_ascii=False))


def _as_json_line(row: Row) -> str:
    return f"{as_json(row)}\n"


def _as_csv_line(row: Row) -> str:
    """Return a row as a line of CSV (RFC 4180) of which no cell is a formula."""
    line = io.StringIO()
    csv.writer(line).writerow(map(_as_cell, row.values()))
    return line.getvalue()


def _as_cell(value: Any) -> Any:
    plain = _plain(value)
    return f"'{plain}" if isinstance(plain, str) and _FORMULA.match(plain) else plain


def _plain(value: Any) -> Any:
    """Return a moment as ISO 8601 in UTC, always of the same length, and the rest as it is."""
    if not isinstance(value, datetime):
        return value
    aware = value if timezone.is_aware(value) else timezone.make_aware(value)
    return aware.astimezone(UTC).isoformat(timespec="microseconds")


def _body_as_json(row: Row) -> dict[str, str | None]:
    if row["body_pruned_at"] is not None:
        return {"body": None, "body_base64": None}
    body = bytes(row["body"])
    try:
        return {"body": body.decode(), "body_base64": None}
    except UnicodeDecodeError:
        return {"body": None, "body_base64": base64.b64encode(body).decode()}


def _without_bodies(ordered: DeliveryQuerySet) -> Iterator[Iterable[Row]]:
    cursor = 0
    while batch := list(rows_of(ordered.filter(pk__gt=cursor)[:BATCH_SIZE])):
        yield batch
        cursor = batch[-1]["id"]


def _with_bodies(ordered: DeliveryQuerySet) -> Iterator[Iterable[Row]]:
    cursor = 0
    sized = ordered.values_list("pk", Length("body"))
    while sizes := list(sized.filter(pk__gt=cursor)[:BATCH_SIZE]):
        for keys in _grouped(sizes):
            yield rows_of(ordered.filter(pk__in=keys), with_body=True)
        cursor = sizes[-1][0]


def _grouped(sizes: Iterable[tuple[int, int]]) -> Iterator[list[int]]:
    """Yield keys in groups of at most `BATCH_BYTES`, or of one."""
    keys: list[int] = []
    total = 0
    for key, size in sizes:
        if keys and total + size > BATCH_BYTES:
            yield keys
            keys, total = [], 0
        keys.append(key)
        total += size
    yield keys


def _marked_where_broken(chunks: Iterator[str]) -> Iterator[str]:
    """Yield chunks, and on an error an end that no reader takes for a good one.

    The server then breaks the connection off. Where it speaks HTTP/1.0, as to some proxies, that
    is how a good answer ends as well.
    """
    try:
        yield from chunks
    except Exception:
        yield _BROKEN_OFF
        raise


async def _asynchronous(chunks: Iterator[str]) -> AsyncIterator[str]:
    # In the thread of the request, where its connection to the database is.
    read = sync_to_async(lambda: next(chunks, None))
    while (chunk := await read()) is not None:
        yield chunk

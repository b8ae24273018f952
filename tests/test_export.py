"""The export: what it writes, that it reads back, how little it holds, and where it breaks off."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
import tracemalloc
import uuid
from datetime import UTC, datetime

import pytest
import time_machine
from asgiref.sync import async_to_sync
from django.core.handlers.asgi import ASGIRequest
from django.db import DatabaseError, connection
from django.db.models import CharField
from django.http.request import HttpHeaders
from django.test import AsyncRequestFactory, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from perfsee_webhooks import export
from perfsee_webhooks.envelope import HOOK_ID_HEADER, Envelope, kept_headers
from perfsee_webhooks.export import BATCH_BYTES, BATCH_SIZE, COLUMNS, Export, Format
from perfsee_webhooks.models import Delivery
from perfsee_webhooks.selection import Selection
from perfsee_webhooks.sending import perfsee_headers

from .figures import came
from .sites import SECRET

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
HOSTILE = "\x1b[31m\r\n\0\ud800\u2028\u202e=1+1,\"'"


def exported(**options):
    options.setdefault("deliveries", Delivery.objects.all())
    return "".join(Export(**options).chunks())


def objects(**options):
    return [json.loads(line) for line in exported(**options).splitlines()]


def table(**options):
    written = exported(format=Format.CSV, **options)
    return list(csv.DictReader(io.StringIO(written, newline=""), strict=True))


def store_many(number, body=b"{}"):
    Delivery.objects.bulk_create(
        (
            Delivery(
                delivery_id=str(uuid.uuid4()),
                event_type="bundle:finished",
                body=body,
                received_at=NOW,
                state="succeeded",
            )
            for _ in range(number)
        ),
        batch_size=1000,
    )


# What is written


def test_ndjson__has_each_column():
    delivery = came(NOW, project="web", summary="a score of 57 – Größe", settled_at=NOW, repeats=2)
    assert objects() == [
        {
            "id": delivery.pk,
            "delivery_id": delivery.delivery_id,
            "event_type": "bundle:finished",
            "project": "web",
            "hook_id": "",
            "state": "succeeded",
            "attempts": 0,
            "branch": "",
            "commit_hash": "",
            "summary": "a score of 57 – Größe",
            "received_at": "2026-11-24T12:00:00.000000+00:00",
            "settled_at": "2026-11-24T12:00:00.000000+00:00",
            "next_attempt_at": None,
            "body_sha256": "0" * 64,
            "body_pruned_at": None,
            "verified_by": "SECRETS[0]",
            "repeats": 2,
            "last_repeated_at": None,
            "replay_id": None,
        }
    ]
    assert "Größe" in exported(), "as it is read, not as it is escaped"


def test_csv__has_each_column_below_its_name():
    delivery = came(NOW, project="web", summary='says "yes", twice', settled_at=None)
    (row,) = table()
    assert tuple(row) == COLUMNS
    assert row["id"] == str(delivery.pk)
    assert row["summary"] == 'says "yes", twice'
    assert (row["received_at"], row["settled_at"]) == ("2026-11-24T12:00:00.000000+00:00", "")
    assert re.fullmatch(r"([^\r\n]*\r\n){2}", exported(format=Format.CSV)), "RFC 4180"


def test_export__of_nothing():
    assert exported() == ""
    assert exported(format=Format.CSV) == ",".join(COLUMNS) + "\r\n"


def test_export__takes_what_the_selection_does_by_primary_key():
    first, other = came(NOW, project="web"), came(NOW, project="docs")
    last = came(NOW.replace(hour=1), project="web")
    deliveries = Selection(project="web").deliveries()
    assert [row["id"] for row in objects(deliveries=deliveries)] == [first.pk, last.pk]
    newest_first = Delivery.objects.order_by("-received_at")
    assert [row["id"] for row in objects(deliveries=newest_first)] == [first.pk, other.pk, last.pk]


def test_export__moments_are_aware_where_the_site_has_no_time_zones():
    naive = datetime(2026, 11, 24, 13)  # noqa: DTZ001  # as a site without USE_TZ has them
    with timezone.override("Europe/Berlin"):
        written = export.as_json({"received_at": naive})
    assert json.loads(written) == {"received_at": "2026-11-24T12:00:00.000000+00:00"}


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'{"a": 1}\n', id="json"),
        pytest.param("\ufeff\0\x1b\x7f\u2028\u202e\U0001f511".encode(), id="odd-text"),
        pytest.param(b"", id="empty"),
        pytest.param(b"\xff\xfe\0", id="no-text"),
        pytest.param(b"\xed\xa0\x80", id="surrogate"),
        pytest.param(bytes(range(256)), id="bytes"),
    ],
)
def test_body__reads_back_exactly(body):
    came(NOW, body=body)
    (row,) = objects(with_body=True)
    assert list(row) == [*COLUMNS, "body", "body_base64"]
    if row["body"] is not None:
        assert row["body_base64"] is None
        assert row["body"].encode() == body
    else:
        assert base64.b64decode(row["body_base64"]) == body


def test_body__is_null_once_it_is_pruned():
    came(NOW, body=b"", body_pruned_at=NOW)
    (row,) = objects(with_body=True)
    assert (row["body"], row["body_base64"]) == (None, None)


def test_body__is_not_there_unless_asked_for():
    came(NOW, body=b"confidential")
    assert "confidential" not in exported() + exported(format=Format.CSV)


def test_body__is_not_for_a_table():
    with pytest.raises(ValueError, match=r"CSV has no bodies: take NDJSON for them\."):
        Export(deliveries=Delivery.objects.all(), format=Format.CSV, with_body=True)


def test_text__no_character_that_a_terminal_obeys():
    body = json.dumps({"eventType": HOSTILE}).encode()
    headers = {**perfsee_headers(body, SECRET), HOOK_ID_HEADER: HOSTILE}
    kept = kept_headers({HttpHeaders.to_wsgi_name(name): headers[name] for name in headers})
    Delivery.objects.record(Envelope.read(body, kept, HOSTILE))
    assert Delivery.objects.get().hook_id.startswith("\ufffd[31m")
    for written in (exported(with_body=True), exported(format=Format.CSV).replace("\r\n", "\n")):
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u202e]", written)
        written.encode()


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        (" \u00a0=1", "' \u00a0=1"),
        ("\uff1d1", "'\uff1d1"),
        ("\t1", "'\t1"),
        ("\r1", "'\r1"),
        ("\n=1", "'\n=1"),
        ("'=1", "''=1"),
        ("it's = fine", "it's = fine"),
        ("main", "main"),
        ("", ""),
    ],
)
def test_csv__holds_no_formula_and_can_be_read_back(text, cell):
    came(NOW, summary=text)
    (row,) = table()
    assert row["summary"] == cell
    assert row["summary"].removeprefix("'") == text
    assert objects()[0]["summary"] == text


def test_csv__holds_no_formula_in_any_column():
    texts = {
        field.name: "=1+1"
        for field in Delivery._meta.fields
        if isinstance(field, CharField) and field.name in COLUMNS and not field.choices
    }
    assert len(texts) >= 9
    came(NOW, **texts)
    (row,) = table()
    assert {name: row[name] for name in texts} == dict.fromkeys(texts, "'=1+1")


# How much it takes


@pytest.mark.parametrize(
    ("rows", "with_body", "statements"),
    [
        (0, False, 2),
        (1, False, 3),
        (2 * BATCH_SIZE, False, 4),
        (0, True, 2),
        (1, True, 4),
        (2 * BATCH_SIZE, True, 6),
    ],
)
def test_export__reads_each_batch_in_a_statement_or_two(rows, with_body, statements):
    store_many(rows)
    with CaptureQueriesContext(connection) as context:
        assert len(objects(with_body=with_body)) == rows
    assert len(context) == statements
    if not with_body:
        assert '"body"' not in "".join(query["sql"] for query in context)


def test_export__reads_no_more_bodies_at_once_than_fit():
    sizes = [10, BATCH_BYTES - 10, 1, BATCH_BYTES * 2, 5, 5]
    for size in sizes:
        came(NOW, body=b"x" * size)
    written = list(Export(deliveries=Delivery.objects.all(), with_body=True).chunks())
    bodies = [[len(json.loads(line)["body"]) for line in chunk.splitlines()] for chunk in written]
    assert bodies == [[10, BATCH_BYTES - 10], [1], [BATCH_BYTES * 2], [5, 5]]


@pytest.mark.parametrize("with_body", [False, True])
def test_export__holds_no_more_memory_for_more_rows(with_body):
    def peak(rows):
        Delivery.objects.all()._raw_delete("default")
        store_many(rows, b"x" * 2000)
        every = Export(deliveries=Delivery.objects.all(), with_body=with_body)
        tracemalloc.start()
        assert sum(chunk.count("\n") for chunk in every.chunks()) == rows
        held = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return held

    peak(1)
    assert peak(5000) <= 1.5 * peak(1000)


def test_export__ends_though_rows_come_in():
    store_many(3)
    chunks = Export(deliveries=Delivery.objects.all(), format=Format.CSV).chunks()
    next(chunks)
    store_many(2)
    assert "".join(chunks).count("\n") == 3


def test_export__leaves_out_what_is_gone_before_its_turn():
    store_many(BATCH_SIZE + 2)
    chunks = Export(deliveries=Delivery.objects.all(), with_body=True).chunks()
    first = next(chunks)
    Delivery.objects.latest("pk").delete()
    assert (first + "".join(chunks)).count("\n") == BATCH_SIZE + 1


def test_export__yields_no_empty_piece():
    for _ in range(2):
        came(NOW, body=b"x" * BATCH_BYTES)
    chunks = Export(deliveries=Delivery.objects.all(), with_body=True).chunks()
    next(chunks)
    Delivery.objects.latest("pk").delete()
    assert list(chunks) == []


# As a file


@time_machine.travel(NOW, tick=False)
@pytest.mark.parametrize(
    ("options", "filename"),
    [
        ({}, "perfsee-deliveries-20261124T120000Z.ndjson"),
        ({"format": Format.CSV}, "perfsee-deliveries-20261124T120000Z.csv"),
        ({"with_body": True}, "perfsee-deliveries-with-bodies-20261124T120000Z.ndjson"),
    ],
)
def test_response__is_a_file_to_keep(options, filename):
    every = Export(deliveries=Delivery.objects.all(), **options)
    response = every.response(RequestFactory().get("/"))
    assert response["Content-Disposition"] == f'attachment; filename="{filename}"'
    assert response["Content-Type"] in (
        "application/x-ndjson",
        "text/csv; charset=utf-8; header=present",
    )
    assert response["X-Content-Type-Options"] == "nosniff"
    assert "no-store" in response["Cache-Control"]
    assert "private" in response["Cache-Control"]


def broken(monkeypatch):
    """An export that breaks off after its first batch."""
    store_many(BATCH_SIZE + 1)
    whole = export.rows_of

    def break_down(deliveries, **options):
        monkeypatch.setattr(export, "rows_of", fail)
        return whole(deliveries, **options)

    def fail(*_arguments, **_options):
        raise DatabaseError("the connection is lost")

    monkeypatch.setattr(export, "rows_of", break_down)


def read_into(chunks, response):
    for chunk in response:
        chunks.append(chunk)  # what came before an error is kept


@pytest.mark.parametrize("written_as", Format)
def test_response__that_breaks_off_is_no_good_file(written_as, monkeypatch):
    broken(monkeypatch)
    every = Export(deliveries=Delivery.objects.all(), format=written_as)
    chunks: list[bytes] = []
    with pytest.raises(DatabaseError, match="the connection is lost"):
        read_into(chunks, every.response(RequestFactory().get("/")))
    written = b"".join(chunks).decode()
    *lines, last = written.splitlines()
    assert len(lines) == BATCH_SIZE + (written_as == Format.CSV)
    assert last == '"This export broke off here: it is not complete.'
    if written_as == Format.NDJSON:
        with pytest.raises(ValueError, match="Unterminated string"):
            json.loads(last)
    else:
        with pytest.raises(csv.Error, match="unexpected end of data"):
            list(csv.reader(io.StringIO(written, newline=""), strict=True))


def test_response__streams_on_asgi_as_well():
    store_many(BATCH_SIZE + 1)
    request = AsyncRequestFactory().get("/")
    assert isinstance(request, ASGIRequest)
    response = Export(deliveries=Delivery.objects.all()).response(request)

    async def read():
        return [chunk async for chunk in response]

    chunks = async_to_sync(read)()
    assert response.is_async, "of another kind Django makes a list first"
    assert [chunk.count(b"\n") for chunk in chunks] == [BATCH_SIZE, 1]

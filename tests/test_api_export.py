"""The export of the API: the filters of the list, the rights, and a stream on each server."""

from __future__ import annotations

import json
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.test import AsyncClient

from perfsee_webhooks.export import BATCH_SIZE, COLUMNS

from .figures import came
from .test_export import NOW, store_many

pytestmark = pytest.mark.django_db

EXPORT = "/api/export/"


def ids(client, **query):
    response = client.get(EXPORT, query)
    assert response.status_code == 200, response.content
    return [json.loads(line)["id"] for line in b"".join(response).splitlines()]


def test_export__takes_the_filters_of_the_list(admin_client):
    first, last = came(NOW, "dead", project="web"), came(NOW, project="web")
    came(NOW, project="docs")
    assert ids(admin_client, project="web") == [first.pk, last.pk]
    assert ids(admin_client, project="web", state="dead") == [first.pk]
    assert ids(admin_client, received_before=NOW.isoformat()) == []


def test_export__as_a_table(admin_client):
    response = admin_client.get(EXPORT, {"file_format": "csv"})
    assert response.streaming
    assert b"".join(response).decode() == ",".join(COLUMNS) + "\r\n"
    assert response["Content-Disposition"].startswith('attachment; filename="perfsee-deliveries-')


def test_export__with_bodies(admin_client):
    came(NOW, body=b"exactly this")
    (line,) = b"".join(admin_client.get(EXPORT, {"with_body": "true"})).splitlines()
    assert json.loads(line)["body"] == "exactly this"


@pytest.mark.parametrize(
    ("rights", "query", "status"),
    [
        ((), {}, 403),
        (("view_delivery_body",), {}, 403),
        (("view_delivery",), {}, 200),
        (("view_delivery",), {"with_body": "false"}, 200),
        *((("view_delivery",), {"with_body": yes}, 403) for yes in ("true", "1", "on", "Yes")),
        (("view_delivery", "view_delivery_body"), {"with_body": "true"}, 200),
    ],
)
def test_export__takes_the_right_to_it(person, rights, query, status):
    assert person(*rights).get(EXPORT, query).status_code == status


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"file_format": "xml"}, "file_format"),
        ({"with_body": "perhaps"}, "with_body"),
        ({"with_body": "true", "file_format": "csv"}, "with_body"),
        ({"state": "broken"}, "state"),
        ({"received_from": "yesterday"}, "received_from"),
        ({"stat": "dead"}, "stat"),
        ({"format": "csv"}, "format"),
        ({"page_size": "7"}, "page_size"),
    ],
)
def test_export__says_what_is_wrong(admin_client, query, field):
    response = admin_client.get(EXPORT, query)
    assert response.status_code == 400
    assert list(response.json()) == [field]


@pytest.mark.parametrize("accepted", ["*/*", "text/csv", "application/x-ndjson"])
def test_export__leaves_the_format_to_its_own_parameter(admin_client, accepted):
    response = admin_client.get(EXPORT, headers={"Accept": accepted})
    assert response["Content-Type"] == "application/x-ndjson"


@pytest.mark.django_db(transaction=True)
def test_export__streams_on_asgi(admin_user):
    store_many(BATCH_SIZE + 1)

    async def read():
        client = AsyncClient()
        await client.aforce_login(admin_user)
        response: Any = await client.get(EXPORT)
        assert response.is_async
        return [chunk async for chunk in response]

    assert [chunk.count(b"\n") for chunk in async_to_sync(read)()] == [BATCH_SIZE, 1]

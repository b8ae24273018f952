"""The list of deliveries as a file: what the list shows, to whom, and streamed on each server."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import connection
from django.test import AsyncClient
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from perfsee_webhooks.export import BATCH_SIZE, COLUMNS

from .figures import came
from .test_admin import DELIVERIES, page
from .test_export import NOW, store_many

pytestmark = pytest.mark.django_db

EXPORT = f"{DELIVERIES}export/"


def exported(client, kind="ndjson", query=""):
    response = client.get(f"{EXPORT}{kind}/{query}")
    assert response.status_code == 200
    return b"".join(response).decode()


def ids(client, query=""):
    return [json.loads(line)["id"] for line in exported(client, query=query).splitlines()]


def test_list__links_to_what_it_shows(admin_client):
    dead, _done = came(NOW, "dead", project="web"), came(NOW, project="web")
    shown = page(admin_client, f"{DELIVERIES}?state__exact=dead&q=w&p=1")
    links = [link for link in shown.links if link.startswith(EXPORT)]
    query = "?q=w&state__exact=dead"
    assert links == [
        f"{EXPORT}csv/{query}",
        f"{EXPORT}ndjson/{query}",
        f"{EXPORT}ndjson-with-bodies/{query}",
    ]
    assert ids(admin_client, query) == [dead.pk]


def test_export__takes_what_the_filters_do(admin_client):
    kept = came(timezone.now(), "dead", project="web")
    came(timezone.now(), "dead", project="docs")
    came(NOW.replace(year=2020), "dead", project="web")
    query = "?project=web&state__exact=dead&received_at__gte=2021-01-01T00:00:00Z&o=-3"
    assert ids(admin_client, query) == [kept.pk]
    assert len(ids(admin_client)) == 3


def test_export__as_a_table(admin_client):
    came(NOW)
    (row,) = csv.DictReader(io.StringIO(exported(admin_client, "csv"), newline=""))
    assert tuple(row) == COLUMNS


def test_export__is_a_file_that_nobody_keeps(admin_client):
    response = admin_client.get(f"{EXPORT}csv/")
    assert response.streaming
    assert response["Content-Disposition"].startswith('attachment; filename="perfsee-deliveries-')
    assert "no-store" in response["Cache-Control"]


def test_export__is_of_all_pages_in_few_statements(admin_client):
    store_many(BATCH_SIZE + 1)
    with CaptureQueriesContext(connection) as context:
        assert len(ids(admin_client)) == BATCH_SIZE + 1
    statements = [query["sql"] for query in context]
    assert len(statements) <= 10, statements
    assert not [sql for sql in statements if '"perfsee_webhooks_delivery"."body",' in sql]


def test_list__offers_bodies_to_whom_may_see_them(person):
    client = person("view_delivery")
    links = page(client, DELIVERIES).links
    assert f"{EXPORT}ndjson/?" in links
    assert f"{EXPORT}ndjson-with-bodies/?" not in links


def test_export__only_answers_get_and_knows_its_kinds(admin_client):
    assert admin_client.post(f"{EXPORT}csv/").status_code == 405
    assert admin_client.get(f"{EXPORT}xml/").status_code == 404


@pytest.mark.parametrize("query", ["received_at__gte=yesterday", "replay=one"])
def test_export__leaves_it_to_the_list_to_say_what_is_wrong(admin_client, query):
    response = admin_client.get(f"{EXPORT}csv/?{query}")
    assert response.status_code == 302
    assert response["Location"] == f"{DELIVERIES}?{query}"


def test_export__refuses_a_filter_that_the_list_does_not_offer(admin_client):
    assert admin_client.get(f"{EXPORT}csv/?headers__contains=x").status_code == 400


@pytest.mark.django_db(transaction=True)
def test_export__streams_on_asgi(admin_user):
    store_many(BATCH_SIZE + 1)

    async def read():
        client = AsyncClient()
        await client.aforce_login(admin_user)
        response: Any = await client.get(f"{EXPORT}ndjson/")
        assert response.is_async
        return [chunk async for chunk in response]

    assert [chunk.count(b"\n") for chunk in async_to_sync(read)()] == [BATCH_SIZE, 1]

"""Statements that are made once do what those would that Django makes anew."""

import gc
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from django.db import DataError, IntegrityError, connection, connections, transaction

from perfsee_webhooks.conf import POSTGRESQL_OPTIONS
from perfsee_webhooks.envelope import Envelope, kept_headers
from perfsee_webhooks.models import Delivery
from perfsee_webhooks.models.statements import Given, Statement, insert, updating
from perfsee_webhooks.sending import perfsee_headers

pytestmark = pytest.mark.django_db

ID = Given.of(Delivery, "delivery_id")
HEADERS = Given.of(Delivery, "headers")


@pytest.fixture
def envelope(body):
    headers = perfsee_headers(body, "a secret", delivery_id="one")
    meta = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()}
    return Envelope.read(body, kept_headers(meta), "SECRETS[0]")


def test_insert__stores_what_save_does(envelope):
    primary_key = insert(Delivery, Delivery.columns_of(envelope), using="default")
    inserted = Delivery.objects.get(delivery_id="one")
    saved = Delivery.of(replace(envelope, delivery_id="two"))
    saved.save(force_insert=True)
    columns = {field.attname for field in Delivery._meta.concrete_fields} - {"id", "delivery_id"}
    for name in columns:
        assert getattr(inserted, name) == getattr(saved, name), name
    assert inserted.pk == primary_key


def test_insert__raises_what_django_does(envelope):
    columns = Delivery.columns_of(envelope)
    insert(Delivery, columns, using="default")
    with pytest.raises(IntegrityError), transaction.atomic():
        insert(Delivery, columns, using="default")
    if connection.vendor != "sqlite":  # which takes text of any length
        with pytest.raises(DataError), transaction.atomic():
            insert(Delivery, columns | {"delivery_id": "x" * 200}, using="default")


def test_statement__gets_other_values_each_time(envelope):
    for delivery_id in ("one", "two"):
        insert(
            Delivery,
            Delivery.columns_of(replace(envelope, delivery_id=delivery_id)),
            using="default",
        )
    named = Statement(Delivery.objects.filter(delivery_id=ID).values_list("headers").query)
    renaming = Statement(
        updating(Delivery.objects.filter(delivery_id=ID), headers=HEADERS, repeats=1)
    )
    assert renaming.change("default", delivery_id="two", headers={"Via": "%s"}) == 1
    assert renaming.change("default", delivery_id="three", headers={}) == 0
    assert named.rows("default", delivery_id="one") == [[dict(envelope.headers)]]
    assert named.rows("default", delivery_id="two") == [[{"Via": "%s"}]]
    assert named.rows("default", delivery_id="three") == []


@pytest.mark.parametrize("usual", [None, POSTGRESQL_OPTIONS["prepare_threshold"]])
def test_statement__alone_is_kept_by_the_server_where_the_options_say_so(usual):
    if connection.vendor != "postgresql":
        pytest.skip("only psycopg keeps statements on the server")
    given = connection.settings_dict
    options = {**given["OPTIONS"], **POSTGRESQL_OPTIONS, "prepare_threshold": usual}
    wrapper: Any = type(connections["default"])
    other = wrapper({**given, "OPTIONS": options}, alias="other")
    connections["other"] = other
    named = Statement(Delivery.objects.filter(delivery_id=ID).values_list("pk").query)
    try:
        for _time in range(8):
            assert named.rows("other", delivery_id="one") == []
            assert not Delivery.objects.using("other").filter(delivery_id="two").exists()
        with other.cursor() as cursor:
            cursor.execute("SELECT statement FROM pg_prepared_statements")
            kept = cursor.fetchall()
        assert other.connection.prepare_threshold == usual
    finally:
        other.close()
        del connections["other"]
    assert len(kept) == (0 if usual is None else 1)


@pytest.mark.django_db(transaction=True)
def test_statement__is_sent_by_each_thread_on_its_own_connection(envelope):
    insert(Delivery, Delivery.columns_of(envelope), using="default")
    named = Statement(Delivery.objects.filter(delivery_id=ID).values_list("headers").query)

    def read(_number: int) -> list[list[object]]:
        try:
            return named.rows("default", delivery_id="one")
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(read, range(32)))
    assert found == [[[dict(envelope.headers)]]] * 32


@pytest.mark.django_db(transaction=True)
def test_statement__keeps_no_connection_of_the_thread_that_made_it(envelope):
    insert(Delivery, Delivery.columns_of(envelope), using="default")
    named = Statement(Delivery.objects.filter(delivery_id=ID).values_list("headers").query)
    kept: list[weakref.ref[object]] = []

    def read() -> None:
        named.rows("default", delivery_id="one")
        kept.append(weakref.ref(connections["default"]))
        connection.close()

    thread = threading.Thread(target=read)
    thread.start()
    thread.join()
    gc.collect()
    assert kept[0]() is None

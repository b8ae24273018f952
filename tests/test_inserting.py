"""The INSERT that is made once stores what Django's own would."""

from dataclasses import replace

import pytest
from django.db import DataError, IntegrityError, connection, transaction

from perfsee_webhooks.envelope import Envelope, kept_headers
from perfsee_webhooks.models import Delivery
from perfsee_webhooks.models.inserting import insert
from perfsee_webhooks.sending import perfsee_headers

pytestmark = pytest.mark.django_db


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

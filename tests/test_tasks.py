from __future__ import annotations

import pytest
from django.db import DatabaseError, connection, transaction
from django.http import HttpResponse

from perfsee_webhooks import tasks
from perfsee_webhooks.models import Delivery

handed_over: list[int] = []


@pytest.fixture(autouse=True)
def _nothing_handed_over():
    handed_over.clear()


def hand_over(primary_key: int) -> None:
    handed_over.append(primary_key)


def fail_to_hand_over(primary_key: int) -> None:
    raise ConnectionError("the engine is down")


def test_schedule__processes_inline_only_when_the_response_is_closed(delivery, connect):
    receiver = connect()
    response = HttpResponse()
    tasks.schedule([delivery.pk], response=response)
    assert receiver.call_count == 0
    response.close()
    assert receiver.call_count == 1
    assert response.closed


def test_schedule__processes_inline_in_the_given_order(delivery, connect):
    receiver = connect()
    other = Delivery.objects.get()
    other.pk, other.delivery_id = None, "two"
    other.save()
    response = HttpResponse()
    tasks.schedule([other.pk, delivery.pk], response=response)
    response.close()
    assert [call.kwargs["delivery"].pk for call in receiver.call_args_list] == [
        other.pk,
        delivery.pk,
    ]


@pytest.mark.django_db(transaction=True)
def test_schedule__closes_the_response_whatever_processing_does(delivery, connect, caplog):
    connect()
    response = HttpResponse()
    tasks.schedule([delivery.pk, delivery.pk], response=response)

    def refuse(*args):
        raise DatabaseError("gone")

    with connection.execute_wrapper(refuse):
        response.close()
    assert response.closed
    assert caplog.text.count("could not be processed") == 2
    assert Delivery.objects.get().state == "received"


@pytest.mark.django_db(transaction=True)
def test_schedule__hands_over_after_the_commit(delivery, webhook_setting):
    webhook_setting(PROCESSING="tests.test_tasks.hand_over")
    with transaction.atomic():
        tasks.schedule([delivery.pk], response=HttpResponse())
        assert handed_over == []
    assert handed_over == [delivery.pk]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("path", ["tests.test_tasks.fail_to_hand_over", "tests.no.such.thing"])
def test_schedule__survives_an_engine_that_is_down(post, body, webhook_setting, path, caplog):
    webhook_setting(PROCESSING=path)
    assert post(body).status_code == 204
    assert Delivery.objects.get().state == "received"
    assert any(record.levelname == "ERROR" for record in caplog.records)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("was_open", [True, False])
def test_schedule__leaves_the_connection_as_it_was(delivery, no_receivers, was_open):
    if not was_open:
        connection.close()
    response = HttpResponse()
    tasks.schedule([delivery.pk], response=response)
    response._resource_closers.clear()  # type: ignore[attr-defined]  # Django's own
    response.close()
    assert (connection.connection is not None) == was_open

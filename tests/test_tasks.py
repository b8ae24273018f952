from __future__ import annotations

import sys
from datetime import timedelta
from importlib import import_module
from typing import Any

import django
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connection
from django.http import HttpResponse

from perfsee_webhooks import tasks
from perfsee_webhooks.exceptions import GiveUp
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


def test_schedule__hands_over_only_when_the_response_is_closed(delivery, webhook_setting):
    webhook_setting(PROCESSING="tests.test_tasks.hand_over")
    response = HttpResponse()
    tasks.schedule([delivery.pk], response=response)
    assert handed_over == []
    response.close()
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


IMPLEMENTATION = "django.tasks" if django.VERSION >= (6, 0) else "django_tasks"


def backend_of(kind: str) -> dict[str, Any]:
    """Return what a site sets in TASKS for a backend that Django Tasks brings along."""
    path = f"{IMPLEMENTATION}.backends.{kind.lower()}.{kind}Backend"
    return {"BACKEND": path, "QUEUES": ["default", "webhooks"]}


@pytest.fixture
def on_backends(settings, webhook_setting, monkeypatch):
    """Sets the backends that a site hands to, and binds the task as an import then does."""

    def set_backends(**kinds: str) -> None:
        settings.TASKS = {name: backend_of(kind) for name, kind in kinds.items()}
        webhook_setting(PROCESSING="tasks")
        monkeypatch.setattr(tasks, "process_delivery", tasks.delivery_task())

    return set_backends


@pytest.fixture
def dummy(on_backends):
    """The site's engine is one that only keeps what it was told."""
    on_backends(default="Dummy", other="Dummy")
    return import_module(IMPLEMENTATION).task_backends["default"]


@pytest.fixture
def immediate(on_backends):
    """The site's engine is one that runs a task at once, and cannot defer it."""
    on_backends(default="Immediate")


def bound_task() -> Any:
    """Return what a worker finds under the name that it was told."""
    return tasks.process_delivery


def told(backend: Any) -> list[tuple[Any, ...]]:
    return [tuple(result.args) for result in backend.results]


def test_delivery_task__is_found_where_a_worker_looks_for_it(dummy):
    task = tasks.delivery_task()
    assert task.module_path == "perfsee_webhooks.tasks.process_delivery"
    assert (task.backend, task.queue_name) == ("default", "default")


def test_delivery_task__is_on_the_backend_and_queue_of_the_settings(dummy, webhook_setting):
    webhook_setting(TASK_BACKEND="other", QUEUE="webhooks")
    task = tasks.delivery_task()
    assert (task.backend, task.queue_name) == ("other", "webhooks")


def test_delivery_task__tells_of_a_backend_that_does_not_exist(dummy, webhook_setting):
    webhook_setting(TASK_BACKEND="nonsense")
    with pytest.raises(ImproperlyConfigured, match="nonsense"):
        tasks.delivery_task()


def test_delivery_task__tells_of_a_queue_that_does_not_exist(dummy, webhook_setting):
    webhook_setting(QUEUE="nonsense")
    exceptions = import_module(f"{IMPLEMENTATION}.exceptions")
    with pytest.raises(exceptions.TaskException, match="nonsense"):
        tasks.delivery_task()


def test_delivery_task__tells_that_there_are_no_tasks(dummy, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, IMPLEMENTATION, None)
        with pytest.raises(ImproperlyConfigured, match="package django-tasks"):
            tasks.delivery_task()


def test_task_where_configured__is_the_task_that_a_worker_finds(dummy):
    function = bound_task().func
    assert tasks.task_where_configured(function).func is function


def test_task_where_configured__leaves_a_mistake_to_the_checks(dummy, webhook_setting, caplog):
    webhook_setting(QUEUE="nonsense")
    function = bound_task().func
    assert tasks.task_where_configured(function) is function
    assert "no such task backend or queue" in caplog.text


def test_hand_over__tells_the_primary_key_and_nothing_else(delivery, dummy):
    assert tasks.hand_over(delivery.pk)
    assert told(dummy) == [(delivery.pk,)]
    assert dummy.results[0].kwargs == {}


@pytest.mark.django_db(transaction=True)
def test_hand_over__has_the_engine_process(delivery, immediate, connect):
    receiver = connect()
    assert tasks.hand_over(delivery.pk)
    assert receiver.call_count == 1


@pytest.mark.parametrize(
    "mistake", [{"QUEUE": "nonsense"}, {"TASK_BACKEND": "nonsense"}, {"PROCESSING": "no.such"}]
)
def test_hand_over__leaves_to_the_sweep_what_nobody_was_told_of(
    delivery, dummy, webhook_setting, mistake, caplog
):
    webhook_setting(**mistake)
    assert not tasks.hand_over(delivery.pk)
    assert Delivery.objects.get().handed_over_at is None
    assert "could not be handed over" in caplog.text


@pytest.mark.django_db(transaction=True)
def test_hand_over__survives_that_engine_and_database_are_down(delivery, webhook_setting, caplog):
    webhook_setting(PROCESSING="tests.test_tasks.fail_to_hand_over")

    def refuse(*args):
        raise DatabaseError("gone")

    with connection.execute_wrapper(refuse):
        assert not tasks.hand_over(delivery.pk)
    assert "only after LEASE" in caplog.text


def test_process_delivery__has_an_engine_that_defers_make_the_next_attempt(
    delivery, dummy, connect
):
    connect(side_effect=ValueError)
    bound_task().call(delivery.pk)
    (deferred,) = dummy.results
    left = Delivery.objects.get()
    assert told(dummy) == [(delivery.pk,)]
    assert left.next_attempt_at is not None
    assert left.next_attempt_at < deferred.task.run_after
    assert deferred.task.run_after - left.next_attempt_at <= timedelta(seconds=1)
    assert deferred.task.run_after.microsecond == 0
    assert left.handed_over_at == deferred.task.run_after


def test_process_delivery__leaves_the_next_attempt_to_the_sweep_elsewhere(
    delivery, immediate, connect
):
    receiver = connect(side_effect=ValueError)
    bound_task().call(delivery.pk)
    left = Delivery.objects.get()
    assert (left.state, left.handed_over_at) == ("failed", None)
    assert receiver.call_count == 1


@pytest.mark.parametrize("error", [None, GiveUp("hopeless")])
def test_process_delivery__plans_nothing_for_what_is_settled(delivery, dummy, connect, error):
    connect(side_effect=error)
    bound_task().call(delivery.pk)
    bound_task().call(delivery.pk)
    assert told(dummy) == []

"""Hand a stored delivery over to whatever runs its receivers, without holding up the answer."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from importlib import import_module
from typing import Any

import django
from django.core.exceptions import ImproperlyConfigured
from django.db import Error as DatabaseFailure
from django.db import connections, router
from django.http import HttpResponseBase
from django.utils.module_loading import import_string

from .conf import INLINE, TASKS, webhook_settings
from .history import Opened
from .log import ids
from .models import Delivery
from .processing import process

logger = logging.getLogger(__name__)

# Two implementations of one interface, whose Task classes know nothing of each other: an engine
# takes those of Django where Django has them, else those of the package `django-tasks`.
_IMPLEMENTATION = "django.tasks" if django.VERSION >= (6, 0) else "django_tasks"

_FAILED = "The delivery with primary key %s could not be %s; the sweep will take it up."


def schedule(primary_keys: Sequence[int], *, response: HttpResponseBase) -> None:
    """Have deliveries processed in the way that `PROCESSING` names, once `response` has been sent.

    So neither a slow receiver nor an engine that does not answer can hold up the response, or fail
    it: what goes wrong is logged, and the delivery waits for the sweep.
    """
    after(response, partial(_start_each, primary_keys))


def hand_over(primary_key: int) -> bool:
    """Tell what `PROCESSING` names of a delivery; False if that failed, which is logged.

    Then the row says that nobody was told, and the next sweep takes it up.
    """
    try:
        if webhook_settings.processing == TASKS:
            delivery_task().enqueue(primary_key)
        else:
            import_string(webhook_settings.processing)(primary_key)
    except Exception:
        logger.exception(_FAILED, primary_key, "handed over", extra=ids(delivery_pk=primary_key))
        _leave_to_the_sweep(primary_key)
        return False
    return True


def _leave_to_the_sweep(primary_key: int) -> None:
    try:
        Delivery.objects.filter(pk=primary_key).leave_to_the_sweep()
    except DatabaseFailure:
        logger.exception(
            "The sweep will take the delivery with primary key %s up only after LEASE.",
            primary_key,
            extra=ids(delivery_pk=primary_key),
        )


def delivery_task() -> Any:
    """Return the task that processes a delivery. Raises as `task_of` does."""
    return task_of(process_delivery)


def task_of(function: Any) -> Any:
    """Return the task that a function is on the site's backend and queue.

    Raises:
        ImproperlyConfigured: there is no implementation of Django Tasks, or no such backend.
        TaskException: the backend has no such queue.
    """
    try:
        implementation = import_module(_IMPLEMENTATION)
    except ImportError as error:
        raise ImproperlyConfigured(
            'PROCESSING "tasks" needs Django 6, or the package django-tasks on Django 5.2.'
        ) from error
    make_task = implementation.task(
        backend=webhook_settings.task_backend, queue_name=webhook_settings.queue
    )
    return make_task(getattr(function, "func", function))


def process_delivery(primary_key: int) -> None:
    """Process a delivery in a worker of the site's task engine, and plan its next attempt."""
    delivery = process(primary_key)
    if delivery is not None and delivery.next_attempt_at is not None:
        _hand_over_at(delivery, delivery.next_attempt_at)


def _hand_over_at(delivery: Delivery, moment: datetime) -> None:
    """Tell the engine of the next attempt, if it can wait; else the sweep will."""
    expected_at = enqueue_at(delivery_task(), moment, delivery.pk)
    if expected_at is not None:
        delivery.expect_at(expected_at)


def enqueue_at(task: Any, moment: datetime, primary_key: int) -> datetime | None:
    """Enqueue a task for a later moment, and return when that is; None if its engine cannot wait.

    Then the sweep does what it was for.
    """
    if not task.get_backend().supports_defer:
        return None
    # RQ cuts fractions of a second off: the task would come too early, and find nothing due.
    moment = moment.replace(microsecond=0) + timedelta(seconds=1)
    task.using(run_after=moment).enqueue(primary_key)
    return moment


def after(response: HttpResponseBase, work: Callable[[], None]) -> None:
    """Do the work when the server closes the response, which it does once it has been sent.

    The work comes before what Django does at the end of a request, so that it still has the
    request's database connection.
    """
    close = response.close

    def work_and_close() -> None:
        try:
            with _connection_left_as_found():
                work()
        finally:
            close()

    response.close = work_and_close  # type: ignore[method-assign]  # of this one response


@contextmanager
def _connection_left_as_found() -> Iterator[None]:
    """Close the database connection that the work opened, if the request had none.

    Django's AsyncClient closes a response in a thread of its own, where nobody else would.
    """
    connection = connections[router.db_for_write(Delivery)]
    was_open = connection.connection is not None
    try:
        yield
    finally:
        if not was_open:
            connection.close()


def _start_each(primary_keys: Sequence[int]) -> None:
    for primary_key in primary_keys:
        start(primary_key)


def start(primary_key: int, opened: Opened | None = None) -> bool:
    """Process a delivery here and now, or hand it over, as `PROCESSING` says.

    `opened` is what is known of those that a replay has opened with it.

    False if that failed, which is logged: the delivery waits for the sweep.
    """
    if webhook_settings.processing != INLINE:
        return hand_over(primary_key)
    try:
        process(primary_key, opened)
    except Exception:
        logger.exception(_FAILED, primary_key, "processed", extra=ids(delivery_pk=primary_key))
        return False
    return True


def task_where_configured(function: Any) -> Any:
    """Return a function as the Task that a worker finds in its place, if the site has workers.

    A backend or queue that the site does not have is told by a system check, which could not run
    if this module failed to be imported.
    """
    if webhook_settings.processing != TASKS:
        return function
    try:
        return task_of(function)
    except Exception:
        logger.exception(
            "PROCESSING is 'tasks', but there is no such task backend or queue.",
            extra=ids(task_backend=webhook_settings.task_backend, queue=webhook_settings.queue),
        )
        return function


process_delivery = task_where_configured(process_delivery)

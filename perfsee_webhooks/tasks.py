"""Hand a stored delivery over to whatever runs its receivers, without holding up the answer."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from django.db import connections, router, transaction
from django.http import HttpResponseBase
from django.utils.module_loading import import_string

from .conf import INLINE, webhook_settings
from .models import Delivery
from .processing import process

logger = logging.getLogger(__name__)


def schedule(primary_keys: Sequence[int], *, response: HttpResponseBase) -> None:
    """Have deliveries processed in the way that `PROCESSING` names.

    Inline processing starts when `response` has been sent. Any other way is told of each primary
    key as soon as its row is committed. Neither can fail the response: what goes wrong is logged,
    and the delivery waits.
    """
    if webhook_settings.processing == INLINE:
        _after(response, partial(_process_and_log, primary_keys))
    else:
        database = router.db_for_write(Delivery)
        for primary_key in primary_keys:
            transaction.on_commit(partial(_hand_over_and_log, primary_key), using=database)


def _hand_over_and_log(primary_key: int) -> None:
    try:
        import_string(webhook_settings.processing)(primary_key)
    except Exception:
        logger.exception(
            "The delivery with primary key %s could not be handed over; it waits.",
            primary_key,
            extra={"delivery_pk": primary_key},
        )


def _after(response: HttpResponseBase, work: Callable[[], None]) -> None:
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


def _process_and_log(primary_keys: Sequence[int]) -> None:
    for primary_key in primary_keys:
        try:
            process(primary_key)
        except Exception:
            logger.exception(
                "The delivery with primary key %s could not be processed; it can be taken up "
                "again when its lease has run out.",
                primary_key,
                extra={"delivery_pk": primary_key},
            )

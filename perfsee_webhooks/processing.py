"""Run the receivers of a stored delivery: claim it, run what has not succeeded, settle it."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from copy import copy
from datetime import timedelta
from inspect import isawaitable
from typing import Any, Final

from asgiref.sync import async_to_sync
from django.db import connections, router, transaction
from django.utils import timezone

from .conf import webhook_settings
from .exceptions import GiveUp, LeaseLost, RetryLater
from .history import History, Opened
from .leases import lease_keeper
from .log import ids_of, log_raised
from .models import Delivery, ReceiverRun
from .signals import ConnectedReceiver, delivery_failed, receivers_of

logger = logging.getLogger(__name__)

MAX_BACKOFF: Final = timedelta(days=1)
MAX_DELAY: Final = timedelta(days=365)

# A receiver that calls sys.exit(), or awaits what was cancelled, fails like any other. An
# interrupt from the keyboard is no failure of a receiver: the lease runs out and it runs again.
FAILURES: Final = (Exception, SystemExit, asyncio.CancelledError)


class ReceiverRolledBack(Exception):
    """A receiver that returned after it had marked its transaction to be rolled back."""


def process(primary_key: int, opened: Opened | None = None) -> Delivery | None:
    """Run the receivers of a delivery that have not succeeded yet, and settle it.

    `opened` is what is known of those that a replay has opened with it, and need not be read.

    Returns the delivery as it was left, or None where nothing was to be done: it is settled, not
    yet due, or being run by another process. A receiver that fails makes no difference here: its
    run is recorded, and the delivery waits for its next attempt or is dead.

    Raises:
        DatabaseError: the database went away; the lease runs out and the delivery is taken up
            again.
    """
    delivery = Delivery.objects.claim(primary_key, replay=opened.replay if opened else None)
    if delivery is None:
        return None
    try:
        with lease_keeper.keeping(delivery):
            _run_and_settle(delivery, History.of(delivery, opened))
    except LeaseLost:
        logger.warning(
            "Delivery %s was taken over by another process before it was settled.",
            delivery.delivery_id,
            extra=ids_of(delivery),
        )
    return delivery


def _run_and_settle(delivery: Delivery, history: History) -> None:
    receivers = receivers_of(delivery.event_type, sender=Delivery)
    if delivery.lost_attempt is not None:
        logger.warning(
            "Delivery %s is taken over: the process of its attempt %s was lost.",
            delivery.delivery_id,
            delivery.lost_attempt,
            extra=ids_of(delivery, attempt=delivery.lost_attempt),
        )
        _record_lost(delivery, delivery.lost_attempt, history.chosen(receivers), history)
    if delivery.same_body_as and delivery.attempts == 1:
        logger.warning(
            "Delivery %s has the same body as delivery %s: somebody may have sent it again.",
            delivery.delivery_id,
            delivery.same_body_as,
            extra=ids_of(delivery, same_body_as=delivery.same_body_as),
        )
    pending = history.pending(history.chosen(receivers))
    if delivery.attempts > webhook_settings.max_attempts:
        # A process died at the last attempt: those that it kept from their only turn have it now.
        pending = history.without_a_run(pending)
    wait = timedelta(0)
    for receiver in pending:
        is_last = history.lacks_only(receiver, receivers)
        wait = max(wait, _run(receiver, delivery, history, is_last=is_last))
    if delivery.state == Delivery.State.PROCESSING:
        _settle(delivery, receivers, history, wait)
    logger.log(
        logging.ERROR if delivery.state == Delivery.State.DEAD else logging.INFO,
        "Delivery %s is %s after attempt %s.",
        delivery.delivery_id,
        delivery.state,
        delivery.attempts,
        extra=ids_of(delivery, attempt=delivery.attempts, replay=delivery.replay_id),
    )


def _settle(
    delivery: Delivery, receivers: list[ConnectedReceiver], history: History, wait: timedelta
) -> None:
    failed = history.failed(receivers)
    pending = history.pending(history.chosen(receivers))
    if not receivers or not history.runs:
        delivery.go_unhandled()
    elif not failed:
        delivery.succeed()
    elif not pending or delivery.attempts >= webhook_settings.max_attempts:
        _die(delivery, failed)
    else:
        delivery.fail(next_attempt_at=timezone.now() + wait)


def _die(delivery: Delivery, failed: list[ReceiverRun]) -> None:
    """Settle as dead, and tell the receivers of `delivery_failed`; Django logs what they raise.

    They are not told anew what had failed before a replay that left it alone.
    """
    delivery.die()
    news = [run for run in failed if run.replay_id == delivery.replay_id]
    if news:
        delivery_failed.send_robust(sender=Delivery, delivery=delivery, runs=news)


def _record_lost(
    delivery: Delivery, lost_attempt: int, receivers: list[ConnectedReceiver], history: History
) -> None:
    """Record that an attempt was lost, on the first receiver that it left without a run."""
    unfinished = history.unfinished(receivers, attempt=lost_attempt)
    if unfinished:
        run = history.next_run(unfinished[0].label)
        run.attempt = lost_attempt
        with transaction.atomic(using=router.db_for_write(ReceiverRun)):
            delivery.renew_lease()
            run.lose()
        history.add(run)


def _run(
    receiver: ConnectedReceiver, delivery: Delivery, history: History, *, is_last: bool
) -> timedelta:
    """Run a receiver and record the run; return how long to wait before it is run again.

    The last one settles the delivery in its own transaction, if it succeeds.
    """
    as_leased = dict(vars(delivery))
    run = history.next_run(receiver.label)
    database = router.db_for_write(ReceiverRun)
    is_committed = False

    def confirm() -> None:
        nonlocal is_committed
        is_committed = True

    try:
        with transaction.atomic(using=database):
            # Before the receiver's own callbacks, since one that raises ends them all.
            transaction.on_commit(confirm, using=database)
            with _still_the_same_transaction(database):
                call_receiver(receiver, delivery)
            if transaction.get_rollback(using=database):
                raise ReceiverRolledBack("The receiver returned, but marked its work for rollback.")
            if is_last:
                delivery.succeed()
            else:
                delivery.renew_lease()
            run.succeed()
    except LeaseLost:
        raise
    except FAILURES as error:
        _log_failure(run, error)
        if is_committed:
            run.add_error_after_commit(error)
        else:
            vars(delivery).update(as_leased)  # it may have been settled, and that rolled back
            with transaction.atomic(using=database):
                delivery.renew_lease()
                run.fail(error)
            history.add(run)
            return _wait_after(error, delivery.attempts)
    history.add(run)
    return timedelta(0)


@contextmanager
def _still_the_same_transaction(database: str) -> Iterator[None]:
    """Raise where MySQL has rolled the transaction back meanwhile, as it does to end a deadlock.

    Nothing else tells, if the receiver went on after the error: what it wrote before is gone.
    """
    connection = connections[database]
    if connection.vendor != "mysql":
        yield
        return
    mark = connection.savepoint()
    yield
    if mark is not None and not connection.get_rollback():
        connection.savepoint_commit(mark)


def call_receiver(receiver: ConnectedReceiver, delivery: Delivery) -> None:
    """Call a receiver with an instance and an event of its own; an async one to its end."""
    answer = receiver.function(
        sender=Delivery,
        delivery=copy(delivery),
        event=delivery.event,
        signal=receiver.signal,
    )
    if isawaitable(answer):
        async_to_sync(_result_of)(answer)


async def _result_of(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


def _log_failure(run: ReceiverRun, error: BaseException) -> None:
    log_raised(
        logger,
        logging.WARNING if isinstance(error, RetryLater) else logging.ERROR,
        "Receiver %s failed on delivery %s.",
        run.receiver,
        run.delivery.delivery_id,
        error=error,
        extra=ids_of(
            run.delivery, receiver=run.receiver, attempt=run.attempt, replay=run.replay_id
        ),
    )


def _wait_after(error: BaseException, attempts: int) -> timedelta:
    if isinstance(error, GiveUp):
        return timedelta(0)
    return min(error.delay, MAX_DELAY) if isinstance(error, RetryLater) else _backoff(attempts)


def _backoff(attempts: int) -> timedelta:
    """Return a wait drawn evenly between none and the longest for that many failed attempts.

    "Full jitter": the longest wait doubles with each attempt, and deliveries that failed together
    do not come back together.
    """
    longest: timedelta = min(webhook_settings.backoff * 2 ** min(attempts - 1, 17), MAX_BACKOFF)
    return longest * random.random()  # noqa: S311  # a wait is no secret

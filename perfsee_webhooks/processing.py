"""Run the receivers of a stored delivery: claim it, run what has not succeeded, settle it."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from copy import copy
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from asgiref.sync import async_to_sync
from django.db import router, transaction
from django.utils import timezone

from .conf import webhook_settings
from .exceptions import LeaseLost
from .models import Delivery, ReceiverRun, Replay
from .signals import ConnectedReceiver, receivers_of

logger = logging.getLogger(__name__)

MAX_BACKOFF: Final = timedelta(days=1)

# A receiver that calls sys.exit(), or awaits what was cancelled, fails like any other. An
# interrupt from the keyboard is no failure of a receiver: the lease runs out and it runs again.
_FAILURES: Final = (Exception, SystemExit, asyncio.CancelledError)


class ReceiverRolledBack(Exception):
    """A receiver that returned after it had marked its transaction to be rolled back."""


def process(primary_key: int) -> Delivery | None:
    """Run the receivers of a delivery that have not succeeded yet, and settle it.

    Returns the delivery as it was left, or None where nothing was to be done: it is settled, not
    yet due, or being run by another process. A receiver that fails makes no difference here: its
    run is recorded, and the delivery waits for its next attempt or is dead.

    Raises:
        DatabaseError: the database went away; the lease runs out and the delivery is taken up
            again.
    """
    delivery = Delivery.objects.claim(primary_key)
    if delivery is None:
        return None
    try:
        _run_and_settle(delivery)
    except LeaseLost:
        logger.warning(
            "Delivery %s was taken over by another process before it was settled.",
            delivery.delivery_id,
            extra={"delivery_id": delivery.delivery_id},
        )
    return delivery


def _run_and_settle(delivery: Delivery) -> None:
    receivers = receivers_of(delivery.event_type, sender=Delivery)
    history = _History.of(delivery)
    pending = [receiver for receiver in receivers if history.is_pending(receiver)]
    outcomes = [_run(receiver, delivery, history) for receiver in pending]
    if not receivers:
        delivery.go_unhandled()
    elif ReceiverRun.Outcome.FAILED not in outcomes:
        delivery.succeed()
    elif delivery.attempts >= webhook_settings.max_attempts:
        delivery.die()
    else:
        delivery.fail(next_attempt_at=timezone.now() + _backoff(delivery.attempts))


@dataclass(frozen=True, slots=True, kw_only=True)
class _History:
    """What earlier runs of a delivery say about the one to come."""

    trigger: ReceiverRun.Trigger
    runs: Counter[str]
    done: frozenset[str]

    @classmethod
    def of(cls, delivery: Delivery) -> _History:
        is_first = delivery.attempts == 1 and delivery.replay is None
        earlier = () if is_first else _earlier_runs(delivery)
        return cls(
            trigger=_trigger(delivery),
            runs=Counter(receiver for receiver, _outcome, _replay in earlier),
            done=frozenset(
                receiver
                for receiver, outcome, replay in earlier
                if outcome == ReceiverRun.Outcome.SUCCEEDED and _counts(delivery.replay, replay)
            ),
        )

    def is_pending(self, receiver: ConnectedReceiver) -> bool:
        return receiver.label not in self.done


def _earlier_runs(delivery: Delivery) -> list[tuple[str, str, int | None]]:
    runs = ReceiverRun.objects.using(router.db_for_write(ReceiverRun)).filter(delivery=delivery)
    return list(runs.values_list("receiver", "outcome", "replay"))


def _counts(replay: Replay | None, replay_of_run: int | None) -> bool:
    """Say whether a success counts: to a replay of all receivers, only its own do."""
    runs_all = replay is not None and replay.receivers == Replay.Receivers.ALL
    return not runs_all or (replay is not None and replay.pk == replay_of_run)


def _trigger(delivery: Delivery) -> ReceiverRun.Trigger:
    if delivery.attempts > 1:
        return ReceiverRun.Trigger.RETRY
    return ReceiverRun.Trigger.FIRST if delivery.replay is None else ReceiverRun.Trigger.REPLAY


def _run(receiver: ConnectedReceiver, delivery: Delivery, history: _History) -> str:
    run = ReceiverRun(
        delivery=delivery,
        receiver=receiver.label,
        number=history.runs[receiver.label] + 1,
        trigger=history.trigger,
        started_at=timezone.now(),
        replay=delivery.replay,
        requested_by=delivery.replay.requested_by if delivery.replay else "",
    )
    database = router.db_for_write(ReceiverRun)
    is_committed = False

    def confirm() -> None:
        nonlocal is_committed
        is_committed = True

    try:
        with transaction.atomic(using=database):
            # Before the receiver's own callbacks, since one that raises ends them all.
            transaction.on_commit(confirm, using=database)
            _call(receiver, delivery)
            if transaction.get_rollback(using=database):
                raise ReceiverRolledBack("The receiver returned, but marked its work for rollback.")
            delivery.renew_lease()
            run.succeed()
    except LeaseLost:
        raise
    except _FAILURES as error:
        _log_failure(run, error)
        if is_committed:
            run.add_error_after_commit(error)
        else:
            with transaction.atomic(using=database):
                delivery.renew_lease()
                run.fail(error)
    return run.outcome


def _call(receiver: ConnectedReceiver, delivery: Delivery) -> None:
    function = async_to_sync(receiver.function) if receiver.is_async else receiver.function
    function(
        sender=Delivery,
        delivery=copy(delivery),
        event=delivery.event,
        signal=receiver.signal,
    )


def _log_failure(run: ReceiverRun, error: BaseException) -> None:
    logger.error(
        "Receiver %s failed on delivery %s.",
        run.receiver,
        run.delivery.delivery_id,
        exc_info=error,
        extra={"delivery_id": run.delivery.delivery_id, "receiver": run.receiver},
    )


def _backoff(attempts: int) -> timedelta:
    """Return a wait drawn evenly between none and the longest for that many failed attempts.

    "Full jitter": the longest wait doubles with each attempt, and deliveries that failed together
    do not come back together.
    """
    longest: timedelta = min(webhook_settings.backoff * 2 ** min(attempts - 1, 30), MAX_BACKOFF)
    return longest * random.random()  # noqa: S311  # a wait is no secret

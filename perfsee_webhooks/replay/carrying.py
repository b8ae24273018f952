"""Carry a replay out, a batch at a time, by whichever process is free to do so.

Its row is the truth. To open a batch is one transaction that locks the row, takes the next
deliveries and moves the cursor past them. So a process that dies leaves nothing half done:
another one goes on at the cursor, and no delivery is opened twice. What was opened is an ordinary
delivery that waits, and is looked after like any other.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from django.db import Error as DatabaseFailure
from django.db import router, transaction
from django.http import HttpResponseBase
from django.utils import timezone

from .. import tasks
from ..conf import INLINE, TASKS, webhook_settings
from ..history import Opened
from ..log import ids
from ..models import Delivery, Replay
from ..selection import Selection

logger = logging.getLogger(__name__)

# How long the process that has answered a request goes on with a replay; the sweep does the rest.
# A connection that is kept open waits for it with its next request.
AFTER_RESPONSE: Final = timedelta(seconds=5)
# Of how many deliveries of a batch the runs are in memory at once.
READ_AT_ONCE: Final = 100


def open_batch(primary_key: int) -> list[int] | None:
    """Open the next batch of a replay's deliveries again, and return their primary keys.

    None if no batch is due: the replay is paused, has ended, or has to wait. The caller has each
    of them processed; there may be fewer than were looked at, or none.

    Raises:
        DatabaseError: nothing was opened.
    """
    database = router.db_for_write(Delivery)
    now = timezone.now()
    due = Replay.objects.using(database).due(now).filter(pk=primary_key)
    uncounted = due.filter(selected=None).first()
    if uncounted is not None:
        # Many take a while: nobody waits for it here, and nothing is locked.
        total_of(uncounted)
    with transaction.atomic(using=database):
        replay = due.select_for_update().first()
        return None if replay is None else _open_next(replay, now)


def _open_next(replay: Replay, now: datetime) -> list[int]:
    size = min(replay.batch_size, replay.per_minute or replay.batch_size)
    selection = Selection.from_json(replay.selection)
    keys = selection.after(replay.cursor, replay.ceiling, size)
    accepted = selection.deliveries().filter(pk__in=keys).reopen(replay)
    wait = timedelta(minutes=len(keys) / replay.per_minute) if replay.per_minute else timedelta(0)
    replay.move(
        keys[-1] if keys else replay.ceiling,
        accepted=accepted,
        skipped=len(keys) - accepted,
        next_batch_at=now + wait,
    )
    if len(keys) < size or replay.cursor >= replay.ceiling:
        replay.finish()
    opened = Delivery.objects.on_primary().filter(pk__in=keys, replay=replay)
    return list(opened.order_by("pk").values_list("pk", flat=True))


def total_of(replay: Replay) -> int:
    """Return how many deliveries a replay is for. Many are counted once, which may take a while."""
    if replay.selected is None:
        selection = Selection.from_json(replay.selection)
        replay.count(selection.deliveries().filter(pk__lte=replay.ceiling).count())
    return replay.selected or 0


def carry_on(primary_key: int, *, may_go_on: Callable[[], bool] = lambda: True) -> list[int] | None:
    """Open the next batch and have it processed as `PROCESSING` says; None if none is due.

    `may_go_on` is asked before each delivery. Once it says no, the sweep takes the rest up.

    Raises:
        DatabaseError: the database went away; a later sweep takes up what was opened.
    """
    batch = open_batch(primary_key)
    if batch is None:
        return None
    known: Opened | None = None
    for number, delivery in enumerate(batch):
        if not may_go_on():
            Delivery.objects.filter(pk__in=batch[number:]).leave_to_the_sweep()
            break
        if number % READ_AT_ONCE == 0:
            known = _known_of(batch[number : number + READ_AT_ONCE], primary_key)
        tasks.start(delivery, known)
    return batch


def _known_of(batch: list[int], primary_key: int) -> Opened | None:
    """Return what each delivery of a batch would else have to read, if they are processed here."""
    if webhook_settings.processing != INLINE:
        return None
    try:
        return Opened.by(Replay.objects.on_primary().get(pk=primary_key), batch)
    except DatabaseFailure:
        logger.exception(
            "What replay %s has opened was not read at once; each delivery reads its own.",
            primary_key,
            extra=ids(replay=primary_key),
        )
        return None


def carry_out(primary_key: int, *, until: datetime) -> None:
    """Carry on until no batch is due, or a moment has come."""

    def may_go_on() -> bool:
        return timezone.now() < until

    while may_go_on() and carry_on(primary_key, may_go_on=may_go_on) is not None:
        pass


def schedule(replay: Replay, *, response: HttpResponseBase) -> None:
    """Have a replay carried out once `response` has been sent.

    An engine of Django Tasks does it in its workers. Otherwise this process does it for at most
    5 seconds, and the sweep goes on with what is left.
    """
    tasks.after(response, partial(_begin, replay.pk))


def is_stalled(replay: Replay) -> bool:
    """Say whether nobody seems to be at work on a running replay whose next batch is due.

    While a delivery that it has opened waits or is being run, it is under way: whoever opened it
    comes back when its batch is done.
    """
    if replay.state != Replay.State.RUNNING or replay.next_batch_at > timezone.now():
        return False
    return not Delivery.objects.on_primary().under_way().filter(replay=replay).exists()


def take_up(replay: Replay) -> list[int] | None:
    """Carry on with a replay that has stalled, and have its engine go on from there."""
    opened = carry_on(replay.pk)
    if opened is not None and _has_workers():
        _begin(replay.pk)
    return opened


def _has_workers() -> bool:
    """Say whether an engine has workers; its immediate backend runs a task where it is enqueued."""
    if webhook_settings.processing != TASKS:
        return False
    return type(tasks.delivery_task().get_backend()).__name__ != "ImmediateBackend"


def _begin(primary_key: int) -> None:
    try:
        if _has_workers():
            tasks.task_of(continue_replay).enqueue(primary_key)
        else:
            carry_out(primary_key, until=timezone.now() + AFTER_RESPONSE)
    except Exception:
        logger.exception(
            "Replay %s has stopped; the sweep will go on with it.",
            primary_key,
            extra=ids(replay=primary_key),
        )


def continue_replay(primary_key: int) -> None:
    """Open the next batch in a worker, hand it over, and come back behind it in the queue."""
    if carry_on(primary_key) is None:
        return
    replay = Replay.objects.on_primary().running().filter(pk=primary_key).first()
    if replay is None:
        return
    task = tasks.task_of(continue_replay)
    if replay.next_batch_at <= timezone.now():
        task.enqueue(primary_key)
    else:
        tasks.enqueue_at(task, replay.next_batch_at, primary_key)


continue_replay = tasks.task_where_configured(continue_replay)

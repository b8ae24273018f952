"""Take up the deliveries that nobody looks after any more: due, abandoned, or never handed over."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from datetime import datetime

from django.db import Error as DatabaseFailure
from django.db import router, transaction
from django.db.models import Min
from django.utils import timezone

from . import replay as replaying
from .conf import INLINE, webhook_settings
from .log import ids
from .models import Delivery, Heartbeat, Replay
from .models.heartbeat import SWEEP
from .processing import process
from .spool import Spool, drain
from .tasks import hand_over

logger = logging.getLogger(__name__)

HANDED_OVER = "handed over"
NOTHING_TO_DO = "nothing to do"
ERROR = "error"


@dataclass(slots=True, kw_only=True)
class Sweep:
    """What one sweep found, by the state it was in, and what became of it.

    An ending is `handed over`, or where the sweep processes itself the state that it left;
    `nothing to do` if another process was quicker; `error` if it will have to be tried again.
    `replayed` is how many deliveries it opened of replays that nobody was at work on, `drained`
    how many it stored that had been kept on the disk while the database was away. `troubles` is how
    often it could not: the spool, a file of it, or a replay has to be seen to, as the log says.
    `next_attempt_at` is when the first of what failed is due again; None if nothing is.
    """

    found: Counter[str]
    endings: Counter[str]
    replayed: int = 0
    drained: int = 0
    troubles: int = 0
    next_attempt_at: datetime | None = None

    def __bool__(self) -> bool:
        return bool(self.total or self.replayed or self.drained)

    @property
    def total(self) -> int:
        """How many deliveries were taken up."""
        return self.found.total()


def sweep(*, batch_size: int) -> Sweep:
    """Store what is in the spool, and take up all that is overdue, until a whole batch fails.

    Between batches of a replay that nobody is at work on, what else is overdue has its turn.

    A delivery is overdue when it is to be processed and nobody was told of it within the last
    `LEASE`. Inline processing is done here and now; any other is told again. It is safe to run
    several at once: each takes rows that no other one has.

    Raises:
        DatabaseError: the rows could not be read; what was taken up is taken up again later.
    """
    Heartbeat.objects.beat(SWEEP)
    report = Sweep(found=Counter(), endings=Counter())
    _drain(report)
    while True:
        _take_up_overdue(report, batch_size)
        batches = _continue_replays(report)
        if not batches:
            report.next_attempt_at = _next_attempt_at()
            _log(report)
            return report
        report.replayed += sum(len(batch) for batch in batches)


def _drain(report: Sweep) -> None:
    """Store what is in the spool. What cannot be stored is logged, and holds up nothing else."""
    spool = Spool.of_site()
    if spool is None:
        return
    try:
        drained = drain(spool)
    except (OSError, DatabaseFailure):
        report.troubles += 1
        logger.exception(
            "The spool could not be emptied; a later sweep will try.",
            extra=ids(path=str(spool.folder)),
        )
    else:
        report.drained, report.troubles = drained.stored, drained.left


def _next_attempt_at() -> datetime | None:
    failed = Delivery.objects.on_primary().filter(state=Delivery.State.FAILED)
    # SQLite takes a partial index only where its condition stands in the statement.
    unsettled = failed.exclude(state=Delivery.State.SUCCEEDED).order_by()
    first: datetime | None = unsettled.aggregate(first=Min("next_attempt_at"))["first"]
    return first


def _log(report: Sweep) -> None:
    """Tell of a sweep; of one that found nothing only those who look closely."""
    logger.log(
        logging.INFO if report else logging.DEBUG,
        "Swept: %s taken up, %s opened of replays, %s stored from the spool.",
        report.total,
        report.replayed,
        report.drained,
        extra=ids(taken_up=report.total, replayed=report.replayed, drained=report.drained),
    )


def _take_up_overdue(report: Sweep, batch_size: int) -> None:
    while batch := _take(batch_size):
        report.found.update(state for _primary_key, state in batch)
        endings = Counter(_take_up(primary_key) for primary_key, _state in batch)
        report.endings.update(endings)
        # What an engine that is down did not take is overdue still, and would be found for ever.
        if len(batch) < batch_size or endings[ERROR] == len(batch):
            break


def _continue_replays(report: Sweep) -> list[list[int]]:
    """Open a batch of each replay that nobody is at work on, and return these batches."""
    due = Replay.objects.on_primary().due(timezone.now())
    batches = [_continue(replay, report) for replay in due if replaying.is_stalled(replay)]
    return [batch for batch in batches if batch is not None]


def _continue(replay: Replay, report: Sweep) -> list[int] | None:
    try:
        return replaying.take_up(replay)
    except Exception:
        report.troubles += 1
        logger.exception(
            "Replay %s could not be carried on; a later sweep will try.",
            replay.pk,
            extra=ids(replay=replay.pk),
        )
        return None


def _take(size: int) -> list[tuple[int, str]]:
    """Mark a batch of overdue deliveries as handed over, so that no other sweep takes them."""
    database = router.db_for_write(Delivery)
    now = timezone.now()
    with transaction.atomic(using=database):
        overdue = Delivery.objects.using(database).overdue(now, grace=webhook_settings.lease)
        rows = list(
            overdue.locked_where_free()
            .order_by("received_at", "pk")
            .values_list("pk", "state")[:size]
        )
        taken = Delivery.objects.using(database).filter(pk__in=[pk for pk, _state in rows])
        taken.update(handed_over_at=now)
    return rows


def _take_up(primary_key: int) -> str:
    if webhook_settings.processing != INLINE:
        return HANDED_OVER if hand_over(primary_key) else ERROR
    try:
        delivery = process(primary_key)
    except Exception:
        logger.exception(
            "The delivery with primary key %s could not be processed; a later sweep will try.",
            primary_key,
            extra=ids(delivery_pk=primary_key),
        )
        return ERROR
    return delivery.state if delivery is not None else NOTHING_TO_DO

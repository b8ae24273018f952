"""Deliveries by what is to be done about them, and what is done to a row by its id.

Each transition names the state it starts from in its `WHERE`, so that of two processes that try it
at once exactly one succeeds.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from datetime import datetime, timedelta
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Any, Final, Self

from django.apps import apps
from django.db import IntegrityError, connections, models, router, transaction
from django.utils import timezone
from django.utils.text import smart_split, unescape_string_literal

from ..conf import webhook_settings
from ..envelope import Envelope
from ..exceptions import DeliveryConflict, SameBody
from .leasing import lease
from .repeating import count_repeat
from .statements import insert

if TYPE_CHECKING:
    from .delivery import Delivery
    from .replay import Replay


class DeliveryState(models.TextChoices):
    """Where a delivery stands. Received and failed ones wait; processing is leased."""

    RECEIVED = "received"
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    DEAD = "dead"
    UNHANDLED = "unhandled"


# The columns whose beginning a search looks at; each has an index.
SEARCHED: Final = ("delivery_id", "hook_id", "project", "commit_hash", "branch")

WAITING: Final = (DeliveryState.RECEIVED, DeliveryState.FAILED)
UNDER_WAY: Final = (DeliveryState.RECEIVED, DeliveryState.PROCESSING)
SETTLED: Final = (DeliveryState.SUCCEEDED, DeliveryState.DEAD, DeliveryState.UNHANDLED)


def is_abandoned(now: datetime) -> models.Q:
    """Say of a delivery that its process let its lease run out."""
    return models.Q(state=DeliveryState.PROCESSING, lease_expires_at__lt=now)


def waits_for_more(now: datetime) -> models.Q:
    """Say of a delivery that it waits for a replay that asks for more than its failed receivers.

    One whose process was lost waits for it, too.
    """
    # The values of `Replay.receivers`, a model that is defined on top of this module.
    more = models.Q(replay__receivers="all") | ~models.Q(replay__only=[])
    waits = models.Q(state__in=WAITING) | is_abandoned(now)
    return waits & models.Q(replay__isnull=False) & more


class DeliveryQuerySet(models.QuerySet["Delivery"]):
    """Deliveries by what is to be done about them."""

    def on_primary(self) -> Self:
        """Read from the database that is written to: a replica may not know the row yet."""
        return self.using(router.db_for_write(self.model))

    def locked_where_free(self) -> Self:
        """Lock the rows, without those that somebody else has locked just now.

        SQLite has one writer, and cannot lock rows.
        """
        if connections[self.db].features.has_select_for_update_skip_locked:
            return self.select_for_update(skip_locked=True)
        return self

    def locked_for_a_change(self, *, skip_locked: bool = False) -> Self:
        """Lock the rows as a change of their state does.

        That waits for nobody who has written a row that refers to one, where the database knows
        the difference.
        """
        no_key = connections[self.db].features.has_select_for_no_key_update
        return self.select_for_update(skip_locked=skip_locked, no_key=no_key)

    def counted_by(self, column: str) -> dict[str, int]:
        """Count the deliveries by a column, in one statement."""
        return dict(self.order_by().values_list(column).annotate(models.Count("pk")))

    def without_body(self) -> Self:
        """Leave the bytes in the database, for a list that does not show them."""
        return self.defer("body", "headers", "repeat_log")

    def failing_with(self, failure_group: str) -> Self:
        """Deliveries of which a receiver's last run ended in a failure of this group."""
        run = apps.get_model("perfsee_webhooks", "ReceiverRun")
        still_failing = (
            run.objects.failures().filter(failure_group=failure_group).latest_of_receiver()
        )
        return self.filter(pk__in=still_failing.values("delivery"))

    def search(self, text: str) -> Self:
        """Deliveries of which each word is the beginning of something that names them."""
        found = self
        for word in smart_split(text):
            is_quoted = word.startswith(('"', "'")) and word[0] == word[-1]
            text_of_word = unescape_string_literal(word) if is_quoted else word
            begins = [models.Q(**{f"{column}__startswith": text_of_word}) for column in SEARCHED]
            found = found.filter(reduce(or_, begins))
        return found

    def under_way(self) -> Self:
        """Deliveries whose turn is to come at once, or that are being run."""
        return self.filter(state__in=UNDER_WAY)

    def settled(self) -> Self:
        """Deliveries of which nothing is left to do."""
        return self.filter(state__in=SETTLED)

    def waiting(self, now: datetime) -> Self:
        """Deliveries that wait for an attempt that is due."""
        is_due = models.Q(state=DeliveryState.FAILED, next_attempt_at__lte=now)
        # Of a received one the date is another machine's, whose clock may be ahead.
        return self.filter(models.Q(state=DeliveryState.RECEIVED) | is_due)

    def abandoned(self, now: datetime) -> Self:
        """Deliveries whose process let its lease run out."""
        return self.filter(is_abandoned(now))

    def overdue(self, now: datetime, grace: timedelta) -> Self:
        """Deliveries to be processed that nobody was told of within `grace`."""
        told = models.Q(handed_over_at__gt=now - grace)
        return (self.waiting(now) | self.abandoned(now)).exclude(told)

    def sharing_body_with(self, one: Envelope | Delivery) -> Self:
        """Deliveries under other ids with the very same body, the first to come first.

        Only what names them is loaded.
        """
        others = self.of_same_body(one.commit_hash, one.body_sha256)
        others = others.exclude(delivery_id=one.delivery_id).order_by("received_at", "pk")
        return others.only("delivery_id", "received_at")

    def of_same_body(self, commit_hash: Any, body_sha256: Any) -> Self:
        """Deliveries with this body, given by what an index finds them by."""
        # The same body names the same commit, with which the index begins.
        return self.filter(commit_hash=commit_hash, body_sha256=body_sha256)

    def receive(self, envelope: Envelope) -> int | None:
        """Record a request that has come, unless its body has come under another id before.

        That is refused where `REFUSE_SAME_BODY` is set, and costs one SELECT there.

        Raises:
            SameBody: it has.
            DeliveryConflict: the id is known, with another body.
            DatabaseError: the database did not take the row.
        """
        if webhook_settings.refuse_same_body:
            same = self.on_primary().of_same_body(envelope.commit_hash, envelope.body_sha256)
            known = set(same.order_by().values_list("delivery_id", flat=True))
            # What came before the setting did stays known by its own id.
            if known and envelope.delivery_id not in known:
                raise SameBody(
                    "This body is already stored under another delivery id, and this site takes "
                    "each body once."
                )
        return self.record(envelope)

    def record(self, envelope: Envelope) -> int | None:
        """Store a verified request: one INSERT; return its primary key, None for a known one.

        A known id is counted with one UPDATE more. The very same request is no repeat: it is
        stored once more where nobody knows whether it was committed the first time, and then the
        key of its row is returned.

        Raises:
            DeliveryConflict: the id is known, with another body.
            DatabaseError: the database did not take the row.
        """
        database = router.db_for_write(self.model)
        try:
            with _savepoint_inside_a_transaction(database):
                return insert(self.model, self.model.columns_of(envelope), using=database)
        except IntegrityError:
            if count_repeat(self.model, envelope, using=database):
                return None
            known = self.using(database).filter(delivery_id=envelope.delivery_id)
            stored = known.without_body().first()
            if stored is None:
                raise
            if stored.body_sha256 != envelope.body_sha256:
                raise DeliveryConflict(
                    "This delivery id is already stored with another body: the first one is kept."
                ) from None
            return stored.pk

    def claim(self, primary_key: int, *, replay: Replay | None = None) -> Delivery | None:
        """Lease a delivery to this process; None if it is not to be run, or another one has it.

        Of a delivery that another process abandoned, `lost_attempt` says which attempt was lost.
        `replay` is one that is at hand, and need not be read if the delivery is of that one.
        """
        database = router.db_for_write(self.model)
        return lease(self.model, primary_key, using=database, replay=replay)

    def leave_to_the_sweep(self) -> None:
        """Note of deliveries that are not settled that nobody was told of them."""
        self.on_primary().exclude(state__in=SETTLED).update(handed_over_at=None)

    def replayable(self, now: datetime, *, only_settled: bool = False) -> Self:
        """Deliveries that have their bytes and that no process is running just now.

        A replay of some receivers only takes settled ones: it would keep the others of what still
        waits from their turn. None takes what waits for another replay that asks for more.
        """
        settled = models.Q(state__in=SETTLED)
        free = (
            settled if only_settled else settled | models.Q(state__in=WAITING) | is_abandoned(now)
        )
        return self.filter(free, body_pruned_at=None).exclude(waits_for_more(now))

    def reopen(self, replay: Replay) -> int:
        """Make those that can be replayed wait again, for a replay; return how many.

        In a transaction, which locks those that can and asks anew: what others have done with one
        by the time that it is locked decides, and not what they had done when a statement began.
        One that is being run is not locked, or its receiver could not settle it.
        """
        now = timezone.now()
        can_be = self.replayable(now, only_settled=bool(replay.only)).order_by()
        keys = list(can_be.values_list("pk", flat=True))
        rows = self.model.objects.using(self.db).filter(pk__in=keys).order_by("pk")
        list(rows.locked_for_a_change().values_list("pk"))
        return can_be.filter(pk__in=keys).update(
            state=DeliveryState.RECEIVED,
            attempts=0,
            next_attempt_at=now,
            handed_over_at=now,
            settled_at=None,
            lease_token=None,
            lease_expires_at=None,
            replay=replay,
        )


def _savepoint_inside_a_transaction(database: str) -> AbstractContextManager[Any]:
    """Outside a transaction one INSERT needs none; inside, PostgreSQL would lose the outer one."""
    connection = transaction.get_connection(database)
    return transaction.atomic(using=database) if connection.in_atomic_block else nullcontext()

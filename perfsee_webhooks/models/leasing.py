"""Lease a delivery to one process, and change it for as long as that process has the lease."""

from __future__ import annotations

import uuid
from copy import deepcopy
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from django.apps import apps
from django.db import connections, models
from django.db.models.sql import Query
from django.utils import timezone

from ..conf import webhook_settings
from .statements import Given, Returning, Statement, column_names, updating

if TYPE_CHECKING:
    from .delivery import Delivery
    from .queries import DeliveryQuerySet
    from .replay import Replay


def lease(
    model: type[Delivery], primary_key: int, *, using: str, replay: Replay | None = None
) -> Delivery | None:
    """Lease a delivery to this process; None if it is not to be run, or another one has it.

    It comes with its replay, which is read unless it is the one that is given.

    Of a delivery that another process abandoned, `lost_attempt` says which attempt was lost.
    """
    delivery = _leased(model, primary_key, using=using)
    if delivery is not None and delivery.replay_id is not None:
        is_known = replay is not None and replay.pk == delivery.replay_id
        delivery.replay = deepcopy(replay) if is_known else _replay_of(delivery, using=using)
    return delivery


def _leased(model: type[Delivery], primary_key: int, *, using: str) -> Delivery | None:
    now, token = timezone.now(), uuid.uuid4()
    given: dict[str, Any] = {
        "id": primary_key,
        "now": now,
        "token": token,
        "lease_expires_at": now + webhook_settings.lease,
    }
    taken = _Lease.of_waiting(model).take(model, using, **given)
    if taken is not None:
        return taken
    abandoned = model.objects.using(using).abandoned(now).filter(pk=primary_key)
    lost = abandoned.values_list("attempts", "lease_token").first()
    if lost is None:
        return None
    lost_attempt, lost_token = lost
    taken = _Lease.of_abandoned(model).take(model, using, lost_token=lost_token, **given)
    if taken is not None:
        taken.lost_attempt = lost_attempt
    return taken


def change_leased(
    model: type[Delivery],
    primary_key: int,
    token: uuid.UUID | None,
    changes: dict[str, Any],
    *,
    using: str,
) -> bool:
    """Change columns of a delivery; False if it is not leased with that token any more."""
    statement = _change_of_leased(model, tuple(changes))
    return bool(statement.change(using, id=primary_key, token=token, **changes))


class _Lease(NamedTuple):
    """The statement that leases a row and returns it, and the two that do where none does both."""

    whole: Returning
    change: Statement
    reading: Statement

    @classmethod
    def of(cls, rows: DeliveryQuerySet) -> _Lease:
        """Return the lease of one of these rows."""
        model = rows.model
        token = Given.of(model, "token", column="lease_token")
        change = updating(
            rows.filter(pk=Given.of(model, "id")),
            state=model.State.PROCESSING,
            attempts=models.F("attempts") + 1,
            next_attempt_at=None,
            lease_token=token,
            lease_expires_at=Given.of(model, "lease_expires_at"),
        )
        leased = model.objects.filter(pk=Given.of(model, "id"), lease_token=token)
        return cls(
            Returning(change, _values_of(model.objects.all(), _NeedNotWait())),
            Statement(change),
            Statement(_values_of(leased)),
        )

    @classmethod
    @cache
    def of_waiting(cls, model: type[Delivery]) -> _Lease:
        """Return the lease of one that waits."""
        return cls.of(model.objects.waiting(Given.of(model, "now", column="received_at")))

    @classmethod
    @cache
    def of_abandoned(cls, model: type[Delivery]) -> _Lease:
        """Return the lease of one that another process, known by its token, has abandoned."""
        abandoned = model.objects.abandoned(Given.of(model, "now", column="received_at"))
        lost_token = Given.of(model, "lost_token", column="lease_token")
        return cls.of(abandoned.filter(lease_token=lost_token))

    def take(self, model: type[Delivery], using: str, **given: Any) -> Delivery | None:
        """Take it; return the delivery, with what came before it with its body."""
        if Returning.is_taken_by(using) and not connections[using].in_atomic_block:
            found = [values for _nothing, *values in self.whole.rows(using, **given)]
        else:
            found = self.reading.rows(using, **given) if self.change.change(using, **given) else []
        return _read(model, found[0], using=using) if found else None


class _NeedNotWait(models.Expression):
    """Lets PostgreSQL commit what selects it before that is on the disk.

    If the server crashes a lease may be lost: the delivery waits again, as it did before. Whatever
    is committed after it is on the disk only together with it.
    """

    output_field = models.TextField()

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        """Select nothing."""
        return "NULL", ()

    def as_postgresql(self, compiler: Any, connection: Any) -> Any:
        """Change the setting until the end of the transaction."""
        return "set_config('synchronous_commit', 'off', true)", ()


def _values_of(rows: DeliveryQuerySet, *beside: models.Expression) -> Query:
    earlier = rows.model.objects.of_same_body(
        models.OuterRef("commit_hash"), models.OuterRef("body_sha256")
    )
    earlier = earlier.filter(pk__lt=models.OuterRef("pk")).order_by()
    named = models.Subquery(earlier.values("delivery_id")[:1])
    return rows.order_by().values_list(*beside, named, *column_names(rows.model)).query


def _read(model: type[Delivery], values: list[Any], *, using: str) -> Delivery:
    same_body_as, *columns = values
    delivery = model.from_db(using, column_names(model), columns)
    delivery.same_body_as = same_body_as
    return delivery


def _replay_of(delivery: Delivery, *, using: str) -> Any:
    """Return its replay, by a statement of its own.

    One that changes a row sees it as somebody has just committed it, but not what else was
    committed with it.
    """
    (values,) = _replays().rows(using, id=delivery.replay_id)
    return _replay_model().from_db(using, column_names(_replay_model()), values)


@cache
def _replays() -> Statement:
    replay = _replay_model()
    rows = replay.objects.filter(pk=Given.of(replay, "id")).order_by()
    return Statement(rows.values_list(*column_names(replay)).query)


@cache
def _change_of_leased(model: type[Delivery], names: tuple[str, ...]) -> Statement:
    leased = model.objects.filter(
        pk=Given.of(model, "id"),
        state=model.State.PROCESSING,
        lease_token=Given.of(model, "token", column="lease_token"),
    )
    return Statement(updating(leased, **{name: Given.of(model, name) for name in names}))


def _replay_model() -> Any:
    return apps.get_model("perfsee_webhooks", "Replay")

"""Lease a delivery to one process, and change it for as long as that process has the lease."""

from __future__ import annotations

import uuid
from functools import cache
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.db import models
from django.utils import timezone

from ..conf import webhook_settings
from .statements import Given, Statement, column_names, updating

if TYPE_CHECKING:
    from .delivery import Delivery
    from .queries import DeliveryQuerySet


def lease(model: type[Delivery], primary_key: int, *, using: str) -> Delivery | None:
    """Lease a delivery to this process; None if it is not to be run, or another one has it.

    Of a delivery that another process abandoned, `lost_attempt` says which attempt was lost.
    """
    now, token = timezone.now(), uuid.uuid4()
    given: dict[str, Any] = {
        "id": primary_key,
        "now": now,
        "token": token,
        "lease_expires_at": now + webhook_settings.lease,
    }
    if _lease_of_waiting(model).change(using, **given):
        return _leased_with(model, primary_key, token, using=using)
    abandoned = model.objects.using(using).abandoned(now).filter(pk=primary_key)
    lost = abandoned.values_list("attempts", "lease_token").first()
    if lost is None:
        return None
    lost_attempt, lost_token = lost
    if not _lease_of_abandoned(model).change(using, lost_token=lost_token, **given):
        return None
    taken_over = _leased_with(model, primary_key, token, using=using)
    if taken_over is not None:
        taken_over.lost_attempt = lost_attempt
    return taken_over


def _leased_with(
    model: type[Delivery], primary_key: int, token: uuid.UUID, *, using: str
) -> Delivery | None:
    """Return the delivery that is leased with a token, with its replay.

    Its `same_body_as` is the id of one that came before it with the very same body.
    """
    found = _leased(model).rows(using, id=primary_key, token=token)
    if not found:
        return None
    columns, replay_columns = column_names(model), column_names(_replay_model())
    same_body_as, *values = found[0]
    delivery = model.from_db(using, columns, values[: len(columns)])
    delivery.same_body_as = same_body_as
    replayed = values[len(columns) :]
    delivery.replay = (
        _replay_model().from_db(using, replay_columns, replayed) if delivery.replay_id else None
    )
    return delivery


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


@cache
def _lease_of_waiting(model: type[Delivery]) -> Statement:
    waiting = model.objects.waiting(Given.of(model, "now", column="received_at"))
    return _lease_of(model, waiting)


@cache
def _lease_of_abandoned(model: type[Delivery]) -> Statement:
    abandoned = model.objects.abandoned(Given.of(model, "now", column="received_at"))
    return _lease_of(
        model, abandoned.filter(lease_token=Given.of(model, "lost_token", column="lease_token"))
    )


def _lease_of(model: type[Delivery], rows: DeliveryQuerySet) -> Statement:
    one = rows.filter(pk=Given.of(model, "id"))
    return Statement(
        updating(
            one,
            state=model.State.PROCESSING,
            attempts=models.F("attempts") + 1,
            next_attempt_at=None,
            lease_token=Given.of(model, "token", column="lease_token"),
            lease_expires_at=Given.of(model, "lease_expires_at"),
        )
    )


@cache
def _leased(model: type[Delivery]) -> Statement:
    earlier = (
        model.objects.of_same_body(models.OuterRef("commit_hash"), models.OuterRef("body_sha256"))
        .filter(pk__lt=models.OuterRef("pk"))
        .order_by()
    )
    leased = model.objects.filter(
        pk=Given.of(model, "id"), lease_token=Given.of(model, "token", column="lease_token")
    )
    replay_columns = [f"replay__{name}" for name in column_names(_replay_model())]
    named = models.Subquery(earlier.values("delivery_id")[:1])
    rows = leased.order_by().values_list(named, *column_names(model), *replay_columns)
    return Statement(rows.query)


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

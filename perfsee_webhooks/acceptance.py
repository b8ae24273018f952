"""Accept a refused request as a delivery after all, once what was wrong with it is mended."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace

from django.db import router, transaction
from django.utils import timezone

from .conf import webhook_settings
from .envelope import DELIVERY_HEADER, UNSIGNED, Envelope, delivery_id_in
from .exceptions import DeliveryConflict, MalformedRequest, RequestRefused
from .log import ids_of
from .models import Delivery, Rejection
from .models.run import asker
from .verification import verify_request

logger = logging.getLogger(__name__)


class NotAccepted(Exception):
    """A refused request that stays refused; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance:
    """The delivery that a refused request was accepted as, and whether it is a new one."""

    delivery: Delivery
    is_new: bool


def why_not(rejection: Rejection, known: Delivery | None) -> str:
    """Say why a refused request cannot be accepted; an empty text if it can.

    `known` is the delivery that has its id, if there is one.
    """
    try:
        envelope = _envelope_of(rejection)
    except NotAccepted as refusal:
        return str(refusal)
    if known is not None and known.body_sha256 != envelope.body_sha256:
        return "Its delivery id is stored with another body: the first one is kept."
    return ""


def first_with_its_body(rejection: Rejection) -> Delivery | None:
    """Return the first delivery with the body of a refused request under another id."""
    try:
        envelope = _envelope_of(rejection)
    except NotAccepted:
        return None
    return Delivery.objects.sharing_body_with(envelope).first()


def accept(primary_key: int, *, accepted_by: str) -> Acceptance:
    """Store a refused request as a delivery that has arrived when the request did.

    It has to pass what every request has to pass. One that Perfsee signed, but without a usable
    delivery id, gets the id `rejection-<primary key>`; one whose delivery is stored already
    points at that. Of two calls at once one raises. A new delivery is to be scheduled.

    Raises:
        NotAccepted: it is not signed by a known secret, its body was cut, its project is not
            allowed, its id has another body, or it is accepted already or gone.
        DatabaseError: the database did not take it.
    """
    database = router.db_for_write(Delivery)
    row = Rejection.objects.using(database).filter(pk=primary_key)
    with transaction.atomic(using=database):
        by = asker(accepted_by)
        if not row.filter(accepted_at=None).update(accepted_at=timezone.now(), accepted_by=by):
            raise NotAccepted("Somebody has accepted it already, or it is no longer kept.")
        envelope = _envelope_of(row.get())
        try:
            acceptance = _store(envelope)
        except DeliveryConflict as conflict:
            raise NotAccepted(str(conflict)) from conflict
        row.update(accepted_as=acceptance.delivery)
    logger.info(
        "Refused request %s was accepted as delivery %s by %s.",
        primary_key,
        envelope.delivery_id,
        by,
        extra=ids_of(envelope, rejection=primary_key, requested_by=by),
    )
    return acceptance


def _envelope_of(rejection: Rejection) -> Envelope:
    if rejection.is_cut:
        raise NotAccepted(
            "Not all of its body is kept, so that nobody can tell whether Perfsee signed it."
        )
    body = bytes(rejection.body)
    try:
        verified_by = verify_request(body, rejection.headers)
        headers = _with_usable_id(rejection, verified_by)
        envelope = Envelope.read(body, headers, verified_by)
        envelope.require_project(webhook_settings.projects_for(envelope.hook_id))
    except RequestRefused as refusal:
        raise NotAccepted(str(refusal)) from refusal
    return replace(envelope, received_at=rejection.received_at)


def _with_usable_id(rejection: Rejection, verified_by: str) -> Mapping[str, str]:
    """Return the headers, with an id of its own for what Perfsee signed without a usable one."""
    headers: Mapping[str, str] = rejection.headers
    try:
        delivery_id_in(headers)
    except MalformedRequest:
        if verified_by == UNSIGNED:
            raise
        return {**headers, DELIVERY_HEADER: f"rejection-{rejection.pk}"}
    return headers


def _store(envelope: Envelope) -> Acceptance:
    """Store it unless it is stored already, which is no repeat of Perfsee's."""
    same = Delivery.objects.on_primary().filter(
        delivery_id=envelope.delivery_id, body_sha256=envelope.body_sha256
    )
    known = same.without_body().first()
    primary_key = None if known else Delivery.objects.record(envelope)
    if primary_key is not None:
        # It has waited since it came, but only now somebody is told of it.
        same.filter(pk=primary_key).update(handed_over_at=timezone.now())
    return Acceptance(delivery=known or same.without_body().get(), is_new=primary_key is not None)

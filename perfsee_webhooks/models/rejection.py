"""Refused requests, kept so that a person can see that they came, and why they were refused."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from functools import partial
from typing import Final, Self

from django.db import Error as DatabaseFailure
from django.db import models, router, transaction
from django.utils import timezone

from .. import exceptions
from ..conf import webhook_settings
from ..envelope import (
    DELIVERY_HEADER,
    EVENT_HEADER,
    HOOK_PROJECT_HEADER,
    MAX_DELIVERY_ID_LENGTH,
    MAX_NAME_LENGTH,
    UNSIGNED,
    hook_id_in,
)
from ..exceptions import BodyTooLarge, RequestRefused
from ..log import ids
from ..rates import Rate, Recent
from ..text import one_line
from .run import MAX_ASKER_LENGTH

logger = logging.getLogger(__name__)

MAX_UNVERIFIED_BODY_BYTES: Final = 128 * 1024
_MAX_DETAIL_LENGTH: Final = 300
_PRUNE_EVERY: Final = 50
_NOBODY: Final = ("", UNSIGNED)
_MAX_COUNT: Final = 2**31 - 1

# How quickly this process keeps what no secret vouches for: anyone on the internet can send it.
strangers: Final = Rate(burst=60, per_second=1)
# Which signed bodies it has kept, each with the reason: whoever has one can send it for ever.
signed: Final = Recent(size=1000)


class RejectionQuerySet(models.QuerySet["Rejection"]):
    """Rejections by who can make them."""

    def of_anyone(self) -> Self:
        """Rejections of requests that nobody needs a secret for, so that there is no end to them.

        No secret vouches for the body, or it has come before and can be sent again.
        """
        same_body = models.Q(reason=exceptions.SameBody.code)
        return self.filter(models.Q(verified_by__in=_NOBODY) | same_body)

    def keep(
        self, refusal: RequestRefused, headers: Mapping[str, str], body: bytes, verified_by: str
    ) -> Rejection | None:
        """Store a refused request; return None for one that is only counted.

        What anyone can send is bounded: a process keeps 60 at once and then one a second,
        which tells how many others there were; the body is cut at 128 KiB, and only the newest
        `KEEP_REJECTIONS` are kept (up to 50 more, since old ones go in batches). Any other signed
        body is kept whole and never makes room for a stranger's; if it is refused again for the
        same reason, that is counted among the strangers.

        Raises:
            DatabaseError: the database did not take the row.
        """
        if verified_by not in _NOBODY and not isinstance(refusal, exceptions.SameBody):
            return self._keep_signed(_rejection(refusal, headers, body, verified_by))
        turn = strangers.take_turn()
        if turn.is_first_refusal:
            logger.warning(
                "Refused requests come quicker than they are kept: until there are fewer, most are "
                "counted alone. The next one that is kept says how many they were.",
                extra=ids(reason=refusal.code),
            )
        if not turn.is_allowed:
            return None
        rejection = _rejection(refusal, headers, body, verified_by)
        rejection.body = body[:MAX_UNVERIFIED_BODY_BYTES]
        rejection.not_kept = min(turn.refusals, _MAX_COUNT)
        try:
            return self._store(rejection)
        except DatabaseFailure:
            strangers.count(turn.refusals + 1)
            raise

    def _keep_signed(self, rejection: Rejection) -> Rejection | None:
        what = (rejection.reason, hashlib.sha256(rejection.body).digest())
        if what in signed:
            strangers.count(1)
            return None
        kept = self._store(rejection)
        transaction.on_commit(partial(signed.note, what), using=router.db_for_write(self.model))
        return kept

    def _store(self, rejection: Rejection) -> Rejection:
        rejection.save(force_insert=True)
        if rejection.pk % _PRUNE_EVERY == 0:
            self._prune_those_of_anyone(rejection.pk)
        return rejection

    def _prune_those_of_anyone(self, newest: int) -> None:
        oldest_kept = newest - webhook_settings.keep_rejections
        database = router.db_for_write(self.model)
        self.using(database).of_anyone().filter(pk__lte=oldest_kept)._raw_delete(database)


class Rejection(models.Model):
    """A refused request. All but the reason is what its sender claimed."""

    class Reason(models.TextChoices):
        """Why it was refused; the values are the `code` of the exceptions."""

        MISSING_SIGNATURE = exceptions.MissingSignature.code, "Missing signature"
        MALFORMED_SIGNATURE = exceptions.MalformedSignature.code, "Malformed signature"
        WRONG_SIGNATURE = exceptions.WrongSignature.code, "Wrong signature"
        PROJECT_NOT_ALLOWED = exceptions.ProjectNotAllowed.code, "Project not allowed"
        MALFORMED = exceptions.MalformedRequest.code, "Malformed request"
        TOO_LARGE = exceptions.BodyTooLarge.code, "Body too large"
        CONFLICT = exceptions.DeliveryConflict.code, "Same id, other body"
        SAME_BODY = exceptions.SameBody.code, "Same body, other id"

    reason = models.CharField(max_length=20, choices=Reason, help_text="Why it was refused.")
    detail = models.CharField(max_length=_MAX_DETAIL_LENGTH, help_text="What the sender was told.")
    delivery_id = models.CharField(max_length=MAX_DELIVERY_ID_LENGTH, blank=True)
    event_type = models.CharField(max_length=MAX_NAME_LENGTH, blank=True)
    project = models.CharField(max_length=MAX_NAME_LENGTH, blank=True)
    hook_id = models.CharField(max_length=MAX_NAME_LENGTH, blank=True)
    headers = models.JSONField(default=dict, blank=True, help_text="The headers worth keeping.")
    body = models.BinaryField(help_text="The bytes that were received, cut if nobody signed them.")
    body_size = models.PositiveBigIntegerField(help_text="How many bytes were received.")
    verified_by = models.CharField(
        max_length=200,
        blank=True,
        help_text="The place in the settings of the secret that signed the body, if one did.",
    )
    received_at = models.DateTimeField(help_text="When it arrived.")
    not_kept = models.PositiveIntegerField(
        default=0,
        help_text="How many the same process had refused since the last one that it kept.",
    )
    accepted_as = models.ForeignKey(
        "perfsee_webhooks.Delivery",
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        db_index=False,
        related_name="rejections",
        help_text="The delivery that it was accepted as.",
    )
    accepted_at = models.DateTimeField(
        null=True, blank=True, help_text="When it was accepted as a delivery after all."
    )
    accepted_by = models.CharField(
        max_length=MAX_ASKER_LENGTH, blank=True, help_text="Who accepted it."
    )

    objects = RejectionQuerySet.as_manager()

    class Meta:
        ordering = ("-received_at", "-id")
        permissions = (("accept_rejection", "Can accept rejection as a delivery"),)
        indexes = (
            models.Index(fields=("-received_at", "-id"), name="perfsee_rejection_newest"),
            models.Index(
                fields=("accepted_as",),
                name="perfsee_rejection_accepted",
                condition=models.Q(accepted_as__isnull=False),
            ),
        )

    def __str__(self) -> str:
        return f"{self.get_reason_display()} at {self.received_at:%Y-%m-%d %H:%M:%S}"

    @property
    def is_cut(self) -> bool:
        """Whether bytes of the body are missing, so that its signature tells nothing."""
        return self.body_size > len(self.body)


def _rejection(
    refusal: RequestRefused, headers: Mapping[str, str], body: bytes, verified_by: str
) -> Rejection:
    return Rejection(
        reason=refusal.code,
        detail=one_line(str(refusal), _MAX_DETAIL_LENGTH),
        delivery_id=one_line(headers.get(DELIVERY_HEADER, ""), MAX_DELIVERY_ID_LENGTH),
        event_type=one_line(headers.get(EVENT_HEADER, ""), MAX_NAME_LENGTH),
        project=one_line(headers.get(HOOK_PROJECT_HEADER, ""), MAX_NAME_LENGTH),
        hook_id=hook_id_in(headers),
        headers=headers,
        body=body,
        body_size=refusal.size if isinstance(refusal, BodyTooLarge) else len(body),
        verified_by=verified_by,
        received_at=timezone.now(),
    )

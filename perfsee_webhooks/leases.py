"""Keep the lease of a delivery for as long as the process that runs it lives.

One thread of the process renews the leases of all deliveries that the process is running, so that
a receiver that takes longer than `LEASE` is not run a second time beside itself. A process that is
killed renews nothing: its leases run out and others take its deliveries over.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Final, NamedTuple
from uuid import UUID

from django.db import connections, router, transaction

from .conf import webhook_settings
from .exceptions import LeaseLost
from .log import ids
from .models import Delivery

logger = logging.getLogger(__name__)

# A renewal may fail twice before the lease runs out.
_RENEWALS_PER_LEASE: Final = 4


class Held(NamedTuple):
    """What a lease is renewed by."""

    primary_key: int
    token: UUID | None


class LeaseKeeper:
    """Renews the leases of the deliveries that this process is running."""

    def __init__(self) -> None:
        self._held: dict[object, Held] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._pause = timedelta.max

    @contextmanager
    def keeping(self, delivery: Delivery) -> Iterator[None]:
        """Renew the lease of a delivery until the block is left."""
        key = object()
        with self._changed:
            self._held[key] = Held(delivery.pk, delivery.lease_token)
            self._start_thread_if_none_lives()
            if _pause() < self._pause:
                self._changed.notify()
        try:
            yield
        finally:
            with self._changed:
                del self._held[key]

    def _start_thread_if_none_lives(self) -> None:
        """Start the thread with the first delivery, and again in a forked process."""
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(
                target=self._renew_for_ever, name="perfsee-webhooks-leases", daemon=True
            )
            self._thread.start()

    def _renew_for_ever(self) -> None:
        while True:
            with self._changed:
                self._pause = _pause()
                is_shortened = self._changed.wait(self._pause.total_seconds())
                held = [] if is_shortened else list(self._held.values())
            self._renew(held)

    def _renew(self, held: list[Held]) -> None:
        """Renew what is held; close the thread's connection, which it seldom needs."""
        for lease in held:
            try:
                _renew_unless_locked(lease)
            except LeaseLost:
                continue  # settled a moment ago, or taken over: the receiver's own fence tells
            except Exception:  # the thread must live on, whatever a driver raises
                logger.exception(
                    "The lease of the delivery with primary key %s could not be renewed.",
                    lease.primary_key,
                    extra=ids(delivery_pk=lease.primary_key),
                )
        if held:
            connections[router.db_for_write(Delivery)].close()


def _renew_unless_locked(lease: Held) -> None:
    """Renew a lease, unless somebody has locked the row: meanwhile the other leases would run out.

    Raises:
        LeaseLost: another process has taken the delivery over, or it is settled.
        DatabaseError: the database did not answer.
    """
    database = router.db_for_write(Delivery)
    with transaction.atomic(using=database):
        if _is_locked(lease.primary_key, using=database):
            logger.warning(
                "The lease of the delivery with primary key %s is not renewed, for somebody has "
                "locked its row: a receiver should not keep that locked.",
                lease.primary_key,
                extra=ids(delivery_pk=lease.primary_key),
            )
            return
        Delivery(pk=lease.primary_key, lease_token=lease.token).renew_lease()


def _is_locked(primary_key: int, *, using: str) -> bool:
    """Lock a row for a change, unless it is locked. SQLite has one writer, and locks no rows."""
    if not connections[using].features.has_select_for_update_skip_locked:
        return False
    row = Delivery.objects.using(using).filter(pk=primary_key).order_by()
    return not row.locked_for_a_change(skip_locked=True).values_list("pk")


def _pause() -> timedelta:
    return webhook_settings.lease / _RENEWALS_PER_LEASE


lease_keeper: Final = LeaseKeeper()

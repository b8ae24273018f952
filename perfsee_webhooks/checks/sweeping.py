"""Whether a site in production has the sweep that it needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Warning  # noqa: A004  # Django's own name
from django.db import Error as DatabaseFailure
from django.db import router
from django.utils import timezone

from ..conf import INLINE, webhook_settings
from ..models import Delivery
from ..stats import last_swept_at
from .setting import is_sound


def check_sweep(*, databases: Sequence[str] | None = None, **_kwargs: Any) -> list[CheckMessage]:
    """Check, with `--deploy`, that a sweep runs beside inline processing.

    Only with `--database` it may look when one last ran; without, it can but remind of it.
    """
    if settings.DEBUG or not is_sound() or webhook_settings.processing != INLINE:
        return []
    if _has_swept(databases or ()):
        return []
    return [
        Warning(
            "Deliveries are processed inline, and as far as is known no sweep runs: what fails, or "
            "is under way when a process ends, is not taken up again.",
            hint="Keep manage.py perfsee_sweep --watch 10 running, or run it every minute from "
            "cron. Only with --database it is looked whether one ran within LEASE.",
            id="perfsee_webhooks.W023",
        )
    ]


def _has_swept(databases: Sequence[str]) -> bool:
    alias = router.db_for_write(Delivery)
    if alias not in databases:
        return False
    try:
        swept_at = last_swept_at(alias)
    except DatabaseFailure:
        return False  # there is no such table before the first migration
    return swept_at is not None and timezone.now() - swept_at <= webhook_settings.lease

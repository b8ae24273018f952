"""Replays for tests that are about something else."""

from __future__ import annotations

from typing import Any

from perfsee_webhooks import replay
from perfsee_webhooks.models import Replay


def opened_again(
    selection: replay.Selection | None = None, *, reason: str = "", **order: Any
) -> Replay:
    """Start a replay and open its first batch; what runs the deliveries is left to the test."""
    started = replay.start(
        selection or replay.Selection(),
        replay.Order(**order),
        requested_by="somebody",
        reason=reason,
    )
    replay.open_batch(started.pk)
    started.refresh_from_db()
    return started


def stay_put(primary_key: int) -> None:
    """A PROCESSING that is told of a delivery and leaves it as it is."""

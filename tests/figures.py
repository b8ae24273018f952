"""Rows that figures are made from, with the moments that a test wants."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from perfsee_webhooks.models import Delivery, ReceiverRun, Rejection


def moment(text: str) -> datetime:
    """Read a moment; one without an offset is in UTC."""
    read = datetime.fromisoformat(text)
    return read if read.tzinfo else read.replace(tzinfo=UTC)


def came(at: datetime | str, state: str = "succeeded", **fields: Any) -> Delivery:
    """Store a delivery that came at a moment."""
    leased = {"lease_token": uuid.uuid4(), "lease_expires_at": None}
    return Delivery.objects.create(
        **{
            "delivery_id": str(uuid.uuid4()),
            "event_type": "bundle:finished",
            "body": b"{}",
            "body_sha256": "0" * 64,
            "verified_by": "SECRETS[0]",
            "state": state,
            "received_at": moment(at) if isinstance(at, str) else at,
            **(leased if state == "processing" else {}),
            **fields,
        }
    )


def ran(delivery: Delivery, receiver: str = "tests.receiver", **fields: Any) -> ReceiverRun:
    """Store a run of a receiver on a delivery, which succeeded unless it is said otherwise."""
    return ReceiverRun.objects.create(
        **{
            "delivery": delivery,
            "receiver": receiver,
            "number": 1 + delivery.runs.filter(receiver=receiver).count(),
            "attempt": 1,
            "trigger": "first",
            "outcome": "succeeded",
            "started_at": delivery.received_at,
            "duration": timedelta(milliseconds=10),
            **fields,
        }
    )


def failed(delivery: Delivery, receiver: str = "tests.receiver", **fields: Any) -> ReceiverRun:
    """Store a failed run, by default of the group "one"."""
    failure = {
        "outcome": "failed",
        "exception": "RuntimeError: it broke",
        "place": "receivers.py:7",
        "failure_group": "one",
    }
    return ran(delivery, receiver, **{**failure, **fields})


def refused(at: datetime, reason: str = "wrong_signature", **fields: Any) -> Rejection:
    """Store a refused request."""
    return Rejection.objects.create(
        reason=reason, detail="", body=b"", body_size=0, received_at=at, **fields
    )

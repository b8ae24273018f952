"""What each peer written in Python does with a request, but for how it stores it."""

from __future__ import annotations

import hmac
import json
from datetime import UTC, datetime
from typing import Any, Final

from benchmarks.load import SECRET

INSERT: Final = (
    "INSERT INTO peers_row (delivery_id, event_type, project, body, received_at)"
    " VALUES (%s, %s, %s, %s, %s)"
)
_KEY: Final = SECRET.encode()


def is_signed(body: bytes, signature: str) -> bool:
    """Whether the signature is that of the body."""
    return hmac.compare_digest("sha256=" + hmac.digest(_KEY, body, "sha256").hex(), signature)


def row_of(body: bytes, delivery_id: str) -> tuple[Any, ...]:
    """Return the values of the columns, in the order of `INSERT`."""
    value = json.loads(body)
    project = value["payload"]["data"]["project"]["id"]
    return delivery_id, value["eventType"], project, body, datetime.now(UTC)

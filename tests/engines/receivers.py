"""A receiver that writes down which process runs it, and fails or hangs where it is asked to."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from perfsee_webhooks.models import Delivery

FAILS_ONCE = "fails-once"
HANGS_ONCE = "hangs-once"


def write_down(sender: type[Delivery], delivery: Delivery, **kwargs: object) -> None:
    """Write a line about this run, then do what the delivery's id asks for."""
    line = {
        "delivery_id": delivery.delivery_id,
        "attempt": delivery.attempts,
        "process": os.getpid(),
        "session": os.getsid(0),
    }
    with Path(os.environ["ENGINES_DIARY"]).open("a") as diary:
        diary.write(json.dumps(line) + "\n")
    if delivery.attempts == 1 and delivery.delivery_id.startswith(FAILS_ONCE):
        raise RuntimeError("A second attempt will do.")
    if delivery.attempts == 1 and delivery.delivery_id.startswith(HANGS_ONCE):
        time.sleep(600)

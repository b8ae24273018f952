"""A receiver that tells on a file which process runs it, and fails for some deliveries."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from django.utils import timezone

from perfsee_webhooks.models import Delivery

FAILS_ONCE = "fails-once"
HANGS_ONCE = "hangs-once"


def write_down(sender: type[Delivery], delivery: Delivery, **kwargs: object) -> None:
    """Write a line about this run, then do what the delivery's id asks for.

    Each process that a test starts leads a session of its own, which its children stay in.
    """
    line = {
        "delivery": delivery.pk,
        "attempt": delivery.attempts,
        "session": os.getsid(0),
        "at": timezone.now().isoformat(),
    }
    with Path(os.environ["ENGINE_DIARY"]).open("a") as diary:
        diary.write(json.dumps(line) + "\n")
    if delivery.attempts > 1:
        return
    if delivery.delivery_id.startswith(FAILS_ONCE):
        raise RuntimeError("not at the first attempt")
    if delivery.delivery_id.startswith(HANGS_ONCE):
        time.sleep(600)

"""Count a request that comes again, on the row that came with an earlier one."""

from __future__ import annotations

from functools import cache
from typing import Final

from django.db import models
from django.db.models.functions import Concat

from ..envelope import Envelope
from .arrivals import Arrival
from .statements import Given, Statement, updating

# Beyond these a repeat is only counted: whoever has a signed body can send it for ever.
MAX_LOGGED_REPEATS: Final = 100


def count_repeat(model: type[models.Model], envelope: Envelope, *, using: str) -> bool:
    """Count an arrival; False if there is no row with its id and body that came earlier."""
    arrival = Arrival(envelope.received_at, envelope.hook_id, envelope.verified_by)
    counted = _counting(model).change(
        using,
        delivery_id=envelope.delivery_id,
        body_sha256=envelope.body_sha256,
        received_at=envelope.received_at,
        line=arrival.line,
    )
    return bool(counted)


@cache
def _counting(model: type[models.Model]) -> Statement:
    received_at = Given.of(model, "received_at")
    rows = model._default_manager.filter(
        delivery_id=Given.of(model, "delivery_id"), body_sha256=Given.of(model, "body_sha256")
    ).exclude(received_at=received_at)
    line = Given("line", models.TextField())
    is_logged = models.When(
        repeats__lt=MAX_LOGGED_REPEATS,
        then=Concat("repeat_log", line, output_field=models.TextField()),
    )
    return Statement(
        updating(
            rows,
            # Before the number that it asks for: to MySQL, what is set first is set already.
            repeat_log=models.Case(is_logged, default=models.F("repeat_log")),
            repeats=models.F("repeats") + 1,
            last_repeated_at=received_at,
        )
    )

"""An app whose receivers do what the id of a delivery asks for, and count it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from django.apps import AppConfig
from django.db import connection

from ..effects import MOODY, STEADY, be_moody


class ConformanceConfig(AppConfig):
    """Connects the receivers."""

    name = "proof.conformance.site"
    label = "conformance"

    def ready(self) -> None:
        """Connect them to every event."""
        from perfsee_webhooks.signals import delivery_received

        delivery_received.connect(do_moody)
        delivery_received.connect(do_steady)


def do_moody(sender: Any, delivery: Any, event: Any, **kwargs: Any) -> None:
    """Do the effect that goes wrong on demand."""
    _do(MOODY, delivery.delivery_id)


def do_steady(sender: Any, delivery: Any, event: Any, **kwargs: Any) -> None:
    """Do the effect that goes well."""
    _do(STEADY, delivery.delivery_id)


def _do(effect: str, delivery_id: str) -> None:
    be_moody(effect, delivery_id, Path(os.environ["CONFORMANCE_FOLDER"]))
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO conformance_effect VALUES (%s, %s)", [delivery_id, effect])

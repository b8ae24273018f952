"""The app of the peers, and the receiver that the measurements of processing need."""

from __future__ import annotations

import os

from django.apps import AppConfig


class PeersConfig(AppConfig):
    """Connects the receiver that `RECEIVER` names, if any."""

    name = "benchmarks.peers"
    label = "peers"

    def ready(self) -> None:
        """Connect it."""
        from perfsee_webhooks.signals import delivery_received

        from . import receivers

        name = os.environ.get("RECEIVER")
        if name:
            delivery_received.connect(getattr(receivers, name))

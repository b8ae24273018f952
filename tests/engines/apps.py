"""An app whose one receiver writes down which process it ran in."""

from django.apps import AppConfig


class EnginesConfig(AppConfig):
    name = "tests.engines"
    label = "engines"

    def ready(self):
        from perfsee_webhooks.signals import delivery_received

        from .receivers import write_down

        delivery_received.connect(write_down)

"""An app with one receiver, which writes down where it runs, for a site that a test starts."""

from django.apps import AppConfig


class EnginesConfig(AppConfig):
    name = "tests.engines"

    def ready(self):
        from perfsee_webhooks.signals import delivery_received

        from .receivers import write_down

        delivery_received.connect(write_down)

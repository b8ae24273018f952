import os
import time

from django.apps import AppConfig


class SlowAppConfig(AppConfig):
    name = "tests.slow_app"

    def ready(self):
        from perfsee_webhooks.signals import delivery_received

        delivery_received.connect(be_slow)


def be_slow(sender, delivery, event, **kwargs):
    time.sleep(float(os.environ["SLOW_SECONDS"]))

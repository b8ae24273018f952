import random
import time

from django.apps import AppConfig

from perfsee_webhooks.signals import delivery_received, receive


class KillAppConfig(AppConfig):
    name = "tests.kill_app"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self):
        delivery_received.connect(write_and_linger)
        delivery_received.connect(write_and_fail_sometimes)
        receive("bundle:*")(write_later)


def write_and_linger(sender, delivery, event, **kwargs):
    _write("write_and_linger", delivery)
    outlives_its_lease = delivery.delivery_id.endswith(("249", "499", "749", "999"))
    time.sleep(2 if outlives_its_lease else random.random() / 100)


def write_and_fail_sometimes(sender, delivery, event, **kwargs):
    _write("write_and_fail_sometimes", delivery)
    if random.random() < 0.1:
        raise ValueError("by chance")


async def write_later(sender, delivery, event, **kwargs):
    from .models import Effect

    await Effect.objects.acreate(receiver="write_later", delivery_id=delivery.delivery_id)


def _write(receiver, delivery):
    from .models import Effect

    Effect.objects.create(receiver=receiver, delivery_id=delivery.delivery_id)

"""A site's own way to have a delivery processed: a task of Celery."""

from celery import shared_task  # type: ignore[import-untyped]

from perfsee_webhooks.processing import process


@shared_task(ignore_result=True)
def process_delivery(primary_key):
    process(primary_key)


def hand_over(primary_key):
    process_delivery.delay(primary_key)

"""A site's own Celery, as Celery's documentation has it."""

from celery import Celery  # type: ignore[import-untyped]

app = Celery("mysite", include=["tests.engines.mysite.deliveries"])
app.config_from_object("django.conf:settings", namespace="CELERY")

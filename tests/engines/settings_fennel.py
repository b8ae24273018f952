"""Deliveries go through Celery, by way of Django Tasks."""

import os

from tests.engines.settings import *  # noqa: F403
from tests.engines.settings import INSTALLED_APPS, PERFSEE_WEBHOOKS

INSTALLED_APPS += ["django_tasks_fennel"]
TASKS = {"default": {"BACKEND": "django_tasks_fennel.CeleryBackend"}}
CELERY_BROKER_URL = os.environ["REDIS_URL"]
CELERY_BROKER_TRANSPORT_OPTIONS = {"socket_timeout": 5, "socket_connect_timeout": 5}
PERFSEE_WEBHOOKS["PROCESSING"] = "tasks"

"""Deliveries go through RQ."""

import os

from tests.engines.settings import *  # noqa: F403
from tests.engines.settings import INSTALLED_APPS, PERFSEE_WEBHOOKS

INSTALLED_APPS += ["django_rq", "django_tasks_rq"]
TASKS = {"default": {"BACKEND": "django_tasks_rq.RQBackend"}}
RQ_QUEUES = {"default": {"URL": os.environ["REDIS_URL"]}}
PERFSEE_WEBHOOKS["PROCESSING"] = "tasks"

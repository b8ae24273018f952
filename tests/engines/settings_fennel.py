import os

from tests.engines.settings import *  # noqa: F403
from tests.engines.settings import INSTALLED_APPS, PERFSEE_WEBHOOKS

INSTALLED_APPS += ["django_tasks_fennel"]
TASKS = {"default": {"BACKEND": "django_tasks_fennel.CeleryBackend"}}
CELERY_BROKER_URL = os.environ["REDIS_URL"]
if os.environ.get("RESULT"):
    CELERY_RESULT_BACKEND = os.environ["CELERY_BROKER_URL"]
PERFSEE_WEBHOOKS["PROCESSING"] = "tasks"

from datetime import timedelta

from example_project.settings import *  # noqa: F403
from example_project.settings import INSTALLED_APPS, PERFSEE_WEBHOOKS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.kill_app"]
PERFSEE_WEBHOOKS = {
    **PERFSEE_WEBHOOKS,
    "LEASE": timedelta(seconds=1),
    "BACKOFF": timedelta(milliseconds=200),
    "MAX_ATTEMPTS": 30,
}
LOGGING = {"version": 1, "disable_existing_loggers": False}

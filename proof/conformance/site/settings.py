"""The example site's settings, with receivers that fail on demand, and with little patience."""

from datetime import timedelta

from example_project.settings import *  # noqa: F403  # a site's settings build on others
from example_project.settings import DATABASES, INSTALLED_APPS, PERFSEE_WEBHOOKS

INSTALLED_APPS = [*INSTALLED_APPS, "proof.conformance.site"]

PERFSEE_WEBHOOKS = {
    **PERFSEE_WEBHOOKS,
    "LEASE": timedelta(seconds=1),
    "BACKOFF": timedelta(milliseconds=20),
    "MAX_ATTEMPTS": 3,
    "DATABASE_WAIT": timedelta(milliseconds=500),
}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    DATABASES["default"]["OPTIONS"]["timeout"] = 1

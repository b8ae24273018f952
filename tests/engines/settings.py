"""The example site with short times, and a receiver that says where it ran."""

import os
from datetime import timedelta

from example_project.settings import *  # noqa: F403
from example_project.settings import INSTALLED_APPS, PERFSEE_WEBHOOKS

INSTALLED_APPS += ["tests.engines"]
PERFSEE_WEBHOOKS |= {
    "BACKOFF": timedelta(seconds=2),
    "LEASE": timedelta(seconds=float(os.environ.get("LEASE_SECONDS", "60"))),
}

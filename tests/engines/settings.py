"""The example site with short waits; the engine is chosen by `PERFSEE_PROCESSING` or below."""

import os
from datetime import timedelta

from example_project.settings import *  # noqa: F403
from example_project.settings import INSTALLED_APPS, PERFSEE_WEBHOOKS

INSTALLED_APPS += ["tests.engines"]
PERFSEE_WEBHOOKS |= {
    "BACKOFF": timedelta(seconds=2),
    "LEASE": timedelta(seconds=float(os.environ.get("ENGINES_LEASE_SECONDS", "60"))),
}

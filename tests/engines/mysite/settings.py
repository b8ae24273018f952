"""Deliveries go through a site's own function, which PROCESSING names by its dotted path."""

import os

from tests.engines.settings import *  # noqa: F403
from tests.engines.settings import PERFSEE_WEBHOOKS

CELERY_BROKER_URL = os.environ["REDIS_URL"]
CELERY_BROKER_TRANSPORT_OPTIONS = {"socket_timeout": 5, "socket_connect_timeout": 5}
PERFSEE_WEBHOOKS["PROCESSING"] = "tests.engines.mysite.deliveries.hand_over"

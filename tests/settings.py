"""The example site's settings on the database that `tests.databases` has chosen."""

import os
from datetime import timedelta

from example_project.settings import *  # noqa: F403
from example_project.settings import DATABASES
from perfsee_webhooks.conf import POSTGRESQL_OPTIONS

SECRET_KEY = "for tests alone"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
WHITENOISE_AUTOREFRESH = True
PERFSEE_WEBHOOKS = {
    "SECRETS": ["It’s a secret 🔑"],
    "PERFSEE_URL": "https://perfsee.example",
    "DATABASE_WAIT": timedelta(0),
}
LOGGING = {"version": 1, "disable_existing_loggers": False}

# A site in a process of its own has them; what runs in the process of the tests has Django's own.
for option in POSTGRESQL_OPTIONS:
    DATABASES["default"].get("OPTIONS", {}).pop(option, None)
DATABASES["default"]["TEST"] = {"NAME": os.environ["TEST_DATABASE_NAME"]}

"""The Django site of the peers and of the app itself: the same for each but for the view.

The environment chooses: `DATABASE_URL`, `PEER` (the view, see `urls.py`), `PROCESSING`,
`MIDDLEWARE` ("none" or "default", what `startproject` writes), `POOL` ("yes" for psycopg's pool
instead of persistent connections), `SQLITE` ("default" for Django's own options),
`STRIPE_PROCESSING` ("none" to have dj-stripe store what comes and no more).
"""

from __future__ import annotations

import os
from typing import Any

import dj_database_url

from benchmarks.load import SECRET, STRIPE_API_KEY
from perfsee_webhooks.conf import POSTGRESQL_OPTIONS, SQLITE_OPTIONS

SECRET_KEY = "of benchmarks"  # noqa: S105  # nobody else's
DEBUG = False
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "benchmarks.peers.urls"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "rest_framework",
    "djstripe",
    "django_tasks_db",
    "perfsee_webhooks",
    "benchmarks.peers",
]

MIDDLEWARE = (
    [
        "django.middleware.security.SecurityMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
    ]
    if os.environ.get("MIDDLEWARE") == "default"
    else []
)


def _database() -> dict[str, Any]:
    database: dict[str, Any] = dict(dj_database_url.config(conn_max_age=600))
    if database["ENGINE"] == "django.db.backends.sqlite3":
        if os.environ.get("SQLITE") != "default":
            database["OPTIONS"] = dict(SQLITE_OPTIONS)
        return database
    # A peer has all of its statements kept, since it has no list with a plan to be spoilt.
    kept = {} if os.environ.get("PEER") == "perfsee" else {"prepare_threshold": 5}
    # Beside what the address says, such as the folder of the socket.
    database["OPTIONS"] = {**database.get("OPTIONS", {}), **POSTGRESQL_OPTIONS, **kept}
    if os.environ.get("POOL") == "yes":
        database["CONN_MAX_AGE"] = 0
        database["OPTIONS"]["pool"] = {"min_size": 8, "max_size": 8}
    return database


DATABASES = {"default": _database()}

TASKS = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}}
PERFSEE_WEBHOOKS = {
    "SECRETS": [SECRET],
    # Hand-over excluded: the function that is told of each delivery does nothing.
    "PROCESSING": os.environ.get("PROCESSING", "benchmarks.peers.receivers.leave_alone"),
}

STRIPE_TEST_SECRET_KEY = STRIPE_API_KEY
STRIPE_LIVE_MODE = False
DJSTRIPE_FOREIGN_KEY_TO_FIELD = "id"
if os.environ.get("STRIPE_PROCESSING") == "none":
    # Stored and no more: all of dj-stripe's processing is left to this function.
    DJSTRIPE_WEBHOOK_EVENT_CALLBACK = "benchmarks.peers.receivers.leave_event_alone"

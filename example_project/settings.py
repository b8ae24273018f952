"""The example site's settings, from the environment."""

from __future__ import annotations

import os
from datetime import timedelta
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import dj_database_url
import django
from django.core.management.utils import get_random_secret_key

from perfsee_webhooks.conf import POSTGRESQL_OPTIONS, SQLITE_OPTIONS

BASE_DIR = Path(__file__).resolve().parent.parent


def _is_on(name: str, default: str) -> bool:
    return os.environ.get(name, default).lower() in ("1", "true", "yes", "on")


def _listed(name: str, default: str) -> list[str]:
    return [item for item in os.environ.get(name, default).split(",") if item]


DEBUG = _is_on("DJANGO_DEBUG", "false")
# Without one each process makes its own, and nobody stays logged in from one to the next.
SECRET_KEY = os.environ.get("DJANGO_SECRET_KEY") or get_random_secret_key()
ALLOWED_HOSTS = _listed("DJANGO_ALLOWED_HOSTS", "127.0.0.1,localhost,[::1],testserver")

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "django_filters",
    "drf_spectacular",
    "perfsee_webhooks",
    "example_project.board",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "example_project.security.content_security_policy",
]

ROOT_URLCONF = "example_project.urls"
WSGI_APPLICATION = "example_project.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]


def _database() -> dict[str, Any]:
    database: dict[str, Any] = dict(
        dj_database_url.config(
            default=f"sqlite:///{BASE_DIR / 'db.sqlite3'}", conn_max_age=60, conn_health_checks=True
        )
    )
    if database["ENGINE"] == "django.db.backends.sqlite3":
        database["OPTIONS"] = dict(SQLITE_OPTIONS)
    if database["ENGINE"] == "django.db.backends.postgresql":
        # Beside what the address says, such as the folder of the socket.
        database["OPTIONS"] = {**database.get("OPTIONS", {}), **POSTGRESQL_OPTIONS}
    if database["ENGINE"] == "django.db.backends.mysql" and find_spec("MySQLdb") is None:
        # Without mysqlclient, which has to be compiled.
        import_module("pymysql").install_as_MySQLdb()
    return database


DATABASES = {"default": _database()}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# A worker of its own, `manage.py db_worker`, processes the deliveries that the database queues.
if os.environ.get("PERFSEE_PROCESSING") == "tasks":
    INSTALLED_APPS += ["django_tasks_db"]
    TASKS = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}}

STATIC_URL = "static/"
WHITENOISE_USE_FINDERS = True

USE_TZ = True
TIME_ZONE = "UTC"
LOGIN_URL = "admin:login"

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "loggers": {"perfsee_webhooks": {"handlers": ["console"], "level": "INFO"}},
}

# Where the board announces scores, in the form that most chats take: {"text": "…"}.
BOARD_CHAT_URL = os.environ.get("BOARD_CHAT_URL", "")

# Django 6 takes addresses, Django 5.2 pairs of name and address.
_admins = _listed("DJANGO_ADMINS", "")
_mailer = "django.core.mail.backends.console.EmailBackend"
ADMINS = _admins if django.VERSION >= (6, 0) else [(address, address) for address in _admins]
if django.VERSION >= (6, 1):
    MAILERS = {"default": {"BACKEND": _mailer}}
else:
    EMAIL_BACKEND = _mailer

PERFSEE_WEBHOOKS = {
    "SECRETS": _listed("PERFSEE_SECRETS", ""),
    "PROCESSING": os.environ.get("PERFSEE_PROCESSING", "inline"),
    "BACKOFF": timedelta(seconds=float(os.environ.get("PERFSEE_BACKOFF_SECONDS", "30"))),
    "LEASE": timedelta(seconds=float(os.environ.get("PERFSEE_LEASE_SECONDS", "300"))),
    "SPOOL_DIR": os.environ.get("PERFSEE_SPOOL_DIR"),
    "PERFSEE_URL": os.environ.get("PERFSEE_URL", "https://perfsee.example"),
}

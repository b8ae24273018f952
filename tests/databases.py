"""A pytest plugin that chooses the database of a run, and starts a server if none is given.

`--database sqlite` (the default), `--database postgresql` or `--database mariadb`: the server in
`TEST_DATABASE_URL` if that is one of its kind, else a private one on a Unix socket, gone with the
run. It acts before Django's settings are read; the workers of pytest-xdist inherit what the first
process has chosen.
"""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from importlib import metadata
from pathlib import Path

import pytest

from . import mariadb
from .mariadb import PrivateMariaDB
from .postgresql import PrivatePostgreSQL

_CHOSEN = "TEST_DATABASE_CHOSEN"
_SCHEMES = {"postgresql": ("postgres", "postgresql"), "mariadb": ("mysql",)}
_started: list[PrivatePostgreSQL | PrivateMariaDB] = []
_folders: list[Path] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--database",
        choices=["sqlite", "postgresql", "mariadb"],
        default="sqlite",
        help="the database to run on (default: %(default)s)",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    if os.environ.get(_CHOSEN):
        return
    os.environ[_CHOSEN] = chosen = early_config.known_args_namespace.database
    run = secrets.token_hex(4)
    if chosen == "sqlite":
        _folders.append(Path(tempfile.mkdtemp(prefix="perfsee-sqlite-")))
        os.environ["DATABASE_URL"] = f"sqlite:///{_folders[0] / 'site.sqlite3'}"
        os.environ["TEST_DATABASE_NAME"] = str(_folders[0] / "test.sqlite3")
        return
    given = os.environ.get("TEST_DATABASE_URL", "")
    if given.startswith(tuple(f"{scheme}://" for scheme in _SCHEMES[chosen])):
        os.environ["DATABASE_URL"] = given
    else:
        private = PrivateMariaDB if chosen == "mariadb" else PrivatePostgreSQL
        _started.append(private.start())
        os.environ["DATABASE_URL"] = _started[0].url
    os.environ["TEST_DATABASE_NAME"] = f"test_perfsee_{run}"


def require_tasks_in_the_database() -> None:
    """Skip a test that keeps tasks in the database, where `django-tasks-db` cannot."""
    major, minor = metadata.version("django-tasks-db").split(".")[:2]
    if os.environ[_CHOSEN] == "mariadb" and (int(major), int(minor)) < (0, 13):
        pytest.skip("django-tasks-db before 0.13 cannot create its tables on MySQL and MariaDB")


def pytest_unconfigure() -> None:
    for server in _started:
        server.stop()
    for folder in _folders:
        shutil.rmtree(folder, ignore_errors=True)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    terminalreporter.section("database")
    terminalreporter.line(f"The suite ran on {exercised_database()}.")


def exercised_database() -> str:
    """Name the database and its version, as the server itself says them."""
    if os.environ[_CHOSEN] == "sqlite":
        import sqlite3

        return f"SQLite {sqlite3.sqlite_version}"
    where = "a private server" if _started else "the server in TEST_DATABASE_URL"
    if os.environ[_CHOSEN] == "mariadb":
        return f"{mariadb.name_of(os.environ['DATABASE_URL'])} ({where})"
    import psycopg

    with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
        version = connection.info.parameter_status("server_version")
    return f"PostgreSQL {version} ({where})"

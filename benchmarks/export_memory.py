"""Measures how much memory an export takes at its peak: `python -m benchmarks.export_memory`.

For each database, and for the command and each kind of server, it exports a few rows and many from
a fresh process and prints the most memory that the process held (Linux only). What is downloaded
is read to its end, and its lines are counted.
"""

from __future__ import annotations

import http.client
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import psycopg

from tests.postgresql import PrivatePostgreSQL
from tests.sites import (
    GUNICORN_SYNC,
    ROOT,
    UVICORN,
    Site,
    migrate,
    running_environment,
    running_site,
)

FEW: Final = 1_000
MANY: Final = 100_000
BODY_BYTES: Final = 2_000

SERVERS: Final = {"gunicorn": GUNICORN_SYNC, "uvicorn": UVICORN}
KINDS: Final = {
    "csv": ("--format=csv",),
    "ndjson": (),
    "ndjson-with-bodies": ("--with-body",),
}

_FILL: Final = """
from datetime import UTC, datetime
from hashlib import sha256
from uuid import uuid4
body = (b'{"eventType": "bundle:finished", "padding": "' + b'x' * %(bytes)d)[:%(bytes)d - 2] + b'"}'
digest, now = sha256(body).hexdigest(), datetime.now(UTC)
for begin in range(0, %(rows)d, 5000):
    Delivery.objects.bulk_create(
        Delivery(
            delivery_id=str(uuid4()), event_type='bundle:finished', project='web', body=body,
            body_sha256=digest, verified_by='SECRETS[0]', state='succeeded', received_at=now,
            summary='main @ main passed, score 57', settled_at=now,
        )
        for _ in range(min(5000, %(rows)d - begin))
    )
"""
# The session is made by another process than the one that answers for it.
_ENVIRONMENT: Final = {"DJANGO_SECRET_KEY": secrets.token_hex()}

_IMPORTS: Final = """
from django.contrib.auth.models import User
from perfsee_webhooks.models import Delivery
"""
_LOG_IN: Final = """
from importlib import import_module
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
user = User.objects.create_superuser('someone', password=None)
session = import_module(settings.SESSION_ENGINE).SessionStore()
session[SESSION_KEY], session[HASH_SESSION_KEY] = str(user.pk), user.get_session_auth_hash()
session[BACKEND_SESSION_KEY] = 'django.contrib.auth.backends.ModelBackend'
session.save()
print(session.session_key)
"""


def main() -> None:
    """Print a line for each way to export."""
    sys.stdout.write(
        f"{'database':<11} {'by':<9} {'what':<19} {FEW:>7,} rows {MANY:>7,} rows    took\n"
    )
    with databases() as empty:
        for name, urls in empty.items():
            for url, rows in zip(urls, (FEW, MANY), strict=True):
                migrate(url)
                shell(url, _FILL % {"rows": rows, "bytes": BODY_BYTES})
            sessions = [shell(url, _LOG_IN) for url in urls]
            for kind, arguments in KINDS.items():
                few, many = (by_command(url, arguments) for url in urls)
                show(name, "command", kind, few, many)
                for server, program in SERVERS.items():
                    few, many = (
                        by_server(program, url, kind, session)
                        for url, session in zip(urls, sessions, strict=True)
                    )
                    show(name, server, kind, few, many)


def show(
    database: str, by: str, kind: str, few: tuple[float, float], many: tuple[float, float]
) -> None:
    """Print the peaks in MiB, and how many seconds the large one took."""
    sys.stdout.write(
        f"{database:<11} {by:<9} {kind:<19} {few[0]:>8.1f} MiB {many[0]:>8.1f} MiB "
        f"{many[1]:>5.1f} s\n"
    )
    sys.stdout.flush()


@contextmanager
def databases() -> Iterator[dict[str, tuple[str, str]]]:
    """Yield the addresses of two empty databases of each kind."""
    server = PrivatePostgreSQL.start()
    try:
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute("CREATE DATABASE few")
            connection.execute("CREATE DATABASE many")
        with tempfile.TemporaryDirectory() as folder:
            yield {
                "sqlite": (f"sqlite:///{folder}/few.sqlite3", f"sqlite:///{folder}/many.sqlite3"),
                "postgresql": (
                    urlsplit(server.url)._replace(path="/few").geturl(),
                    urlsplit(server.url)._replace(path="/many").geturl(),
                ),
            }
    finally:
        server.stop()


def shell(url: str, program: str) -> str:
    """Run a program in the shell of a site, and return what it prints."""
    site = Site(environment=running_environment(url, _ENVIRONMENT))
    return site.manage("shell", "-v0", "-c", _IMPORTS + program).strip()


def by_command(url: str, arguments: tuple[str, ...]) -> tuple[float, float]:
    """Return the peak in MiB and the seconds of `perfsee_export`."""
    begin = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "manage.py", "perfsee_export", "--skip-checks", *arguments],
        cwd=ROOT,
        env=running_environment(url, _ENVIRONMENT),
        stdout=subprocess.DEVNULL,
    )
    _pid, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit("The command failed.")
    return usage.ru_maxrss / 1024, time.monotonic() - begin


def by_server(program: tuple[str, ...], url: str, kind: str, session: str) -> tuple[float, float]:
    """Return the peak in MiB and the seconds of a download from a server of its own."""
    with running_site(program, url, _ENVIRONMENT) as site:
        begin = time.monotonic()
        connection = http.client.HTTPConnection(urlsplit(site.origin).netloc, timeout=60)
        connection.request(
            "GET",
            f"/admin/perfsee_webhooks/delivery/export/{kind}/",
            headers={"Cookie": f"sessionid={session}"},
        )
        response = connection.getresponse()
        if response.status != http.HTTPStatus.OK:
            raise SystemExit(f"The server answered {response.status}.")
        lines = 0
        while chunk := response.read(65536):
            lines += chunk.count(b"\n")
        if lines not in (FEW, MANY, FEW + 1, MANY + 1):
            raise SystemExit(f"{lines} lines were downloaded.")
        seconds = time.monotonic() - begin
        connection.close()
        return max(map(peak_of, descendants(os.getpid()))), seconds


def descendants(pid: int) -> Iterator[int]:
    """Yield the processes that a process has started, and those that they have."""
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        yield int(child)
        yield from descendants(int(child))


def peak_of(pid: int) -> float:
    """Return the most memory that a process has held, in MiB; 0 for one of PostgreSQL."""
    status = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    if "python" not in Path(f"/proc/{pid}/cmdline").read_text():
        return 0
    return int(status["VmHWM"].split()[0]) / 1024


if __name__ == "__main__":
    main()

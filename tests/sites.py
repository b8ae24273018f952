"""The example site on a real server and a database of its own, as a process to send to."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from perfsee_webhooks import sending

SECRET = "It’s a secret 🔑"
ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 60
SETTLE_SECONDS = 60

GUNICORN_THREADS = (
    "gunicorn",
    "--worker-class=gthread",
    "--threads=8",
    "--no-control-socket",
    "--bind=127.0.0.1:0",
    "example_project.wsgi",
)
GUNICORN_SYNC = ("gunicorn", "--no-control-socket", "--bind=127.0.0.1:0", "example_project.wsgi")
UVICORN = (
    "uvicorn",
    "--host=127.0.0.1",
    "--port=0",
    "--lifespan=off",
    "example_project.asgi:application",
)
# The site with the receiver in front of it.
GUNICORN_FRONTED = (*GUNICORN_THREADS[:-1], "tests.fronted:wsgi")
UVICORN_FRONTED = (*UVICORN[:-1], "tests.fronted:asgi")

_LISTENING = re.compile(
    r"(?:Listening at:|Uvicorn running on|development server at) (http://[^/\s]+)"
)


@dataclass(kw_only=True)
class Site:
    """A running site: its address, its environment, and what its server has printed."""

    origin: str = ""
    environment: dict[str, str]
    folder: Path = ROOT
    python: str = sys.executable
    printed: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        """The receiver's address."""
        return f"{self.origin}/perfsee/webhook/"

    def send(self, body: bytes, delivery_id: str | None = None, **changes: Any) -> sending.Answer:
        """Send a body as Perfsee does."""
        headers = sending.perfsee_headers(body, SECRET, delivery_id=delivery_id)
        return sending.post(self.url, body, {**headers, **changes})

    def manage(self, *arguments: str, check: bool = True) -> str:
        """Run a command of the site's manage.py, which has to succeed, and return its output."""
        return subprocess.run(
            [self.python, "manage.py", *arguments],
            check=check,
            capture_output=True,
            cwd=self.folder,
            env=self.environment,
            text=True,
        ).stdout

    def query(self, expression: str) -> str:
        """Evaluate an expression over the models in the site's own database."""
        return self.manage("shell", "-v0", "-c", f"{_IMPORTS}print(({expression}))").strip()

    def wait_until_settled(self) -> None:
        """Wait until no delivery waits or is processed any more."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while self.query(f"{_UNSETTLED}.count()") != "0":
            if time.monotonic() > deadline:
                raise AssertionError(self.query(f"{_UNSETTLED}.values()") + "".join(self.printed))


_UNSETTLED = "Delivery.objects.filter(state__in=['received', 'processing'])"
_IMPORTS = """
from django.apps import apps
globals().update((model.__name__, model) for model in apps.get_models())
"""


@contextmanager
def running_site(
    server: tuple[str, ...],
    database_url: str,
    environment: Mapping[str, str] = MappingProxyType({}),
    folder: Path = ROOT,
    python: str = sys.executable,
) -> Iterator[Site]:
    """Start the server on a migrated database and a port that the system picks, and stop it."""
    site = Site(
        environment=running_environment(database_url, environment), folder=folder, python=python
    )
    process = subprocess.Popen(
        [python, "-m", server[0], *server[1:]],
        cwd=folder,
        env=site.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    listening = threading.Event()
    reader = threading.Thread(target=_read, args=(process, site, listening))
    reader.start()
    try:
        if not listening.wait(START_SECONDS):
            raise AssertionError("The server did not start:\n" + "".join(site.printed))
        yield site
    finally:
        process.terminate()
        process.wait(START_SECONDS)
        reader.join()


def migrate(database_url: str) -> None:
    """Create the tables of the example site."""
    Site(environment=running_environment(database_url)).manage("migrate", "-v0")


def running_environment(
    database_url: str, changes: Mapping[str, str] = MappingProxyType({})
) -> dict[str, str]:
    """Return the environment of a process of the example site."""
    return {
        **os.environ,
        "DATABASE_URL": database_url,
        "DJANGO_SETTINGS_MODULE": "example_project.settings",
        "DJANGO_SECRET_KEY": secrets.token_hex(),
        "PERFSEE_SECRETS": SECRET,
        "PYTHONUNBUFFERED": "1",
        **changes,
    }


def _read(process: subprocess.Popen[str], site: Site, listening: threading.Event) -> None:
    assert process.stdout is not None
    with process.stdout:
        for line in process.stdout:
            site.printed.append(line)
            if found := _LISTENING.search(line):
                site.origin = found[1]
                listening.set()

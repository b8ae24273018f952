"""The servers that the peers run on, as processes with settings that are written out here.

One worker process each, on as many processors as the machine has, with 8 threads (8 connections in
Node's pool and in psycopg's), no access log, and connections to the database that are kept.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Final
from urllib.parse import parse_qs, urlsplit

from tests.postgresql import PrivatePostgreSQL

from .load import SECRET

ROOT: Final = Path(__file__).resolve().parent.parent
THREADS: Final = 8
_EXPRESS: Final = Path(__file__).parent / "peers" / "express"
_INSTALLED_EXPRESS: Final = ROOT / "build" / "express"
_START_SECONDS: Final = 60
_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})

# {port} and {application} are filled in.
_GRANIAN: Final = (
    *(sys.executable, "-m", "granian", "--host=127.0.0.1", "--port={port}", "--workers=1"),
    *("--runtime-threads=1", "--no-ws", "--log-level=warning"),
)
_GUNICORN: Final = (
    *(sys.executable, "-m", "gunicorn", "--bind=127.0.0.1:{port}", "--worker-class=gthread"),
    *(f"--threads={THREADS}", "--keep-alive=60", "--no-control-socket", "--log-level=warning"),
)
SERVERS: Final[Mapping[str, tuple[str, ...]]] = {
    "granian": (*_GRANIAN, "--interface=wsgi", f"--blocking-threads={THREADS}", "{application}"),
    "gunicorn": (*_GUNICORN, "--workers=1", "{application}"),
    "gunicorn-4": (*_GUNICORN, "--workers=4", "{application}"),
    "granian-asgi": (*_GRANIAN, "--interface=asginl", "{application}"),
    "uvicorn": (
        *(sys.executable, "-m", "uvicorn", "--host=127.0.0.1", "--port={port}"),
        *("--lifespan=off", "--no-access-log", "--log-level=warning", "{application}"),
    ),
    "node": ("node", "server.js"),
}


class NotStarted(RuntimeError):
    """A server that did not answer; the message is what it printed."""


@contextmanager
def durable_postgresql() -> Iterator[str]:
    """Yield the address of a PostgreSQL of its own that waits for the disk at each commit."""
    server = PrivatePostgreSQL.start(is_durable=True)
    try:
        yield server.url
    finally:
        server.stop()


def environment_of(database_url: str, changes: Mapping[str, str] = _NOTHING) -> dict[str, str]:
    """Return the environment of a process of the peers' site."""
    return {
        **os.environ,
        "DATABASE_URL": database_url,
        "DJANGO_SETTINGS_MODULE": "benchmarks.peers.settings",
        "PEER_SECRET": SECRET,
        "PEER_HOST": parse_qs(urlsplit(database_url).query).get("host", [""])[0],
        **changes,
    }


def manage(database_url: str, *arguments: str, changes: Mapping[str, str] = _NOTHING) -> str:
    """Run a command of Django on the peers' site, and return what it prints."""
    finished = subprocess.run(
        [sys.executable, "-m", "django", *arguments],
        check=False,
        capture_output=True,
        cwd=ROOT,
        env=environment_of(database_url, changes),
        text=True,
    )
    if finished.returncode:
        raise NotStarted(finished.stderr)
    return finished.stdout


@contextmanager
def serving(
    server: str,
    application: str,
    database_url: str,
    changes: Mapping[str, str] = _NOTHING,
) -> Iterator[str]:
    """Run a server on a port that is free, and yield its origin once it takes connections."""
    port = _free_port()
    command = [part.format(port=port, application=application) for part in SERVERS[server]]
    environment = environment_of(database_url, {"PORT": str(port), **changes})
    with running(command, environment, folder=_express() if server == "node" else ROOT) as process:
        _wait_for(port, process)
        yield f"http://127.0.0.1:{port}"


@contextmanager
def running(
    command: list[str], environment: Mapping[str, str], *, folder: Path = ROOT
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process, and end it; what it prints is shown if it ended by itself."""
    with tempfile.TemporaryFile() as printed:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=printed, stderr=subprocess.STDOUT
        )
        try:
            yield process
            has_ended = process.poll() is not None
        except BaseException:
            printed.seek(0)
            sys.stderr.write(printed.read().decode(errors="replace")[-4_000:])
            raise
        finally:
            process.terminate()
            process.wait(_START_SECONDS)
        if has_ended:
            printed.seek(0)
            raise NotStarted(printed.read().decode(errors="replace"))


def has_node() -> bool:
    """Whether Node and npm are there to run the peer in JavaScript."""
    return shutil.which("node") is not None and shutil.which("npm") is not None


def _express() -> Path:
    """Install Express and pg below `build/`, unless they are there, and return the folder."""
    _INSTALLED_EXPRESS.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "server.js"):
        shutil.copy(_EXPRESS / name, _INSTALLED_EXPRESS / name)
    if not (_INSTALLED_EXPRESS / "node_modules" / "pg").exists():
        subprocess.run(
            ["npm", "install", "--no-audit", "--no-fund", "--silent"],  # noqa: S607  # on PATH
            cwd=_INSTALLED_EXPRESS,
            check=True,
        )
    return _INSTALLED_EXPRESS


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise NotStarted(f"Nothing listens on port {port}.") from error
            time.sleep(0.05)
        else:
            return

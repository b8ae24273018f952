"""A MariaDB server for one test run: on a Unix socket, without a port, gone afterwards."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import pymysql

_START_SECONDS = 60
_UNPRIVILEGED = "nobody"
_FOLDERS = ("/usr/sbin", "/usr/local/sbin", "/usr/libexec")
_ZONES = Path("/usr/share/zoneinfo")
_QUICK = (
    "--innodb-flush-method=nosync",
    "--innodb-doublewrite=OFF",
)


class NoMariaDB(RuntimeError):
    """There are no binaries of MariaDB to start a server from."""


@dataclass(kw_only=True)
class PrivateMariaDB:
    """A running server, and what it takes to stop it and to start it again."""

    folder: Path
    command: list[str]
    user: str | None
    process: subprocess.Popen[bytes]

    @classmethod
    def start(cls, *, is_durable: bool = False) -> PrivateMariaDB:
        """Create a server's data and start it, as another user where this one is root.

        Its settings are MariaDB's own, but for the character set and the largest statement. One
        that is not durable is quicker, and loses what it has committed when it is killed.
        """
        install, binary = _binary("mariadb-install-db"), _binary("mariadbd")
        # The socket's path may have 107 bytes at most, so not below a deep TMPDIR.
        folder = Path(tempfile.mkdtemp(prefix="perfsee-maria-", dir="/tmp"))
        user = _UNPRIVILEGED if os.geteuid() == 0 else None
        if user:
            shutil.chown(folder, user)
        data = f"--datadir={folder / 'data'}"
        subprocess.run(
            [install, "--no-defaults", data, "--auth-root-authentication-method=normal"]
            + ["--skip-test-db", "--skip-name-resolve"],
            check=True,
            capture_output=True,
            cwd=folder,
            user=user,
        )
        command = [binary, "--no-defaults", data, *(() if is_durable else _QUICK)]
        command += [f"--socket={folder / 'socket'}", f"--pid-file={folder / 'pid'}"]
        command += ["--skip-networking", "--max-connections=300", "--character-set-server=utf8mb4"]
        command += ["--max-allowed-packet=64M"]
        server = cls(
            folder=folder, command=command, user=user, process=_launched(command, folder, user)
        )
        server._wait_until_it_answers()
        server._load_time_zones()
        return server

    def kill(self) -> None:
        """End the server at once, as a crash does."""
        self.process.kill()
        self.process.wait(timeout=_START_SECONDS)

    def start_again(self) -> None:
        """Start it on the same data, and return when it answers."""
        self.process = _launched(self.command, self.folder, self.user)
        self._wait_until_it_answers()

    @property
    def url(self) -> str:
        """The address of the server's own database."""
        return f"mysql://root@{quote(str(self.folder / 'socket'), safe='')}/mysql"

    def stop(self) -> None:
        """Stop the server and remove all that it wrote."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                # The driver would leave a socket open where nobody listens yet.
                with socket.socket(socket.AF_UNIX) as probe:
                    probe.connect(str(self.folder / "socket"))
                connect(self.url).close()
            except (OSError, pymysql.OperationalError) as error:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise NoMariaDB((self.folder / "log").read_text()) from error
                time.sleep(0.05)
            else:
                return

    def _load_time_zones(self) -> None:
        """Fill the tables by which the server converts moments from one zone to another."""
        loader, client = _binary("mariadb-tzinfo-to-sql"), _binary("mariadb")
        statements = subprocess.run([loader, _ZONES], check=True, capture_output=True).stdout
        subprocess.run(
            [client, "--no-defaults", f"--socket={self.folder / 'socket'}", "--user=root", "mysql"],
            input=statements,
            check=True,
            capture_output=True,
        )


def connect(url: str) -> Any:
    """Connect to the database of an address, with each statement committed."""
    parts = urlsplit(url)
    host = unquote(parts.netloc.rpartition("@")[2])
    where: dict[str, Any] = {"unix_socket": host}
    if not host.startswith("/"):
        where = {"host": parts.hostname, "port": parts.port or 3306}
    return pymysql.connect(
        **where,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        database=parts.path.strip("/"),
        autocommit=True,
    )


def name_of(url: str) -> str:
    """Return what the server of an address is, MariaDB or MySQL, with its version."""
    with connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT VERSION()")
        (version,) = cursor.fetchone()
    return f"{'MariaDB' if 'MariaDB' in version else 'MySQL'} {version.partition('-')[0]}"


def end_connections(url: str, chosen: Callable[[list[int]], list[int]] = list) -> int:
    """End the other connections to a database, or those that are chosen; return how many."""
    with connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT id FROM information_schema.processlist "
            "WHERE db = DATABASE() AND id <> CONNECTION_ID()"
        )
        numbers = chosen([number for (number,) in cursor.fetchall()])
        for number in numbers:
            with suppress(pymysql.OperationalError):  # it has just ended by itself
                cursor.execute("KILL %s", [number])
    return len(numbers)


@contextmanager
def copied_database(server: str, template: str | None) -> Iterator[str]:
    """Create a database beside that of an address, like a template if there is one."""
    name = f"site_{secrets.token_hex(8)}"
    with connect(server) as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
        if template:
            _copy(cursor, urlsplit(template).path.strip("/"), name)
    try:
        yield urlsplit(server)._replace(path=f"/{name}").geturl()
    finally:
        with connect(server) as connection, connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE {name}")


def _copy(cursor: Any, source: str, target: str) -> None:
    cursor.execute("SET foreign_key_checks = 0")
    cursor.execute(f"USE {target}")
    cursor.execute(f"SHOW TABLES FROM {source}")
    for (table,) in cursor.fetchall():
        cursor.execute(f"SHOW CREATE TABLE {source}.{table}")
        cursor.execute(cursor.fetchone()[1])
        rows = f"SELECT * FROM {source}.{table}"  # noqa: S608  # names of the server's own
        cursor.execute(f"INSERT INTO {table} {rows}")


def _launched(command: list[str], folder: Path, user: str | None) -> subprocess.Popen[bytes]:
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, user=user)


def _binary(name: str) -> str:
    """Find a program of MariaDB: on PATH, or where only root has it there."""
    found = shutil.which(name) or shutil.which(name, path=os.pathsep.join(_FOLDERS))
    if found is None:
        raise NoMariaDB(
            f"No {name}, so no MariaDB to test on: install it (on Debian: apt-get install "
            "mariadb-server), or set TEST_DATABASE_URL."
        )
    return found

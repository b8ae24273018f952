"""Start the example site and its worker, send it deliveries, and tell what became of them.

`python -m example_project.demo [--once]`
"""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Final

import django

FOLDER: Final = Path(".demo")
SECRET: Final = "a secret for the demo 🔑"  # noqa: S105  # nobody else's
ADMIN: Final = "admin"
FAVOURITE_PORT: Final = 8000
PATIENCE_SECONDS: Final = 30


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A request to send, and how it should end."""

    title: str
    body: bytes
    delivery_id: str = field(default_factory=lambda: secrets.token_hex(8))
    secret: str = SECRET
    status: int
    ending: str


def main(arguments: list[str] | None = None) -> int:
    """Run the demo; return 0 if every request ended as it should."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--once", action="store_true", help="stop the site when all is told")
    options = parser.parse_args(arguments)

    port = _free_port()
    password = secrets.token_urlsafe(12)
    with _chat_that_is_down_twice() as chat:
        _prepare(password, chat)
        with _running_worker(), _running_site(port) as origin:
            as_expected = _play(_scenes(), f"{origin}/perfsee/webhook/")
            if not options.once:
                _leave_running(origin, password)
    return 0 if as_expected else 1


def _prepare(password: str, chat: str) -> None:
    """Set up the environment, an empty database unless one is given, and the admin user."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    os.environ.setdefault("DATABASE_URL", f"sqlite:///{FOLDER.resolve() / 'db.sqlite3'}")
    os.environ["DJANGO_SETTINGS_MODULE"] = "example_project.settings"
    os.environ["DJANGO_SECRET_KEY"] = secrets.token_urlsafe(50)
    os.environ["PERFSEE_SECRETS"] = SECRET
    os.environ["PERFSEE_PROCESSING"] = "tasks"
    os.environ["PERFSEE_BACKOFF_SECONDS"] = "1"
    os.environ["BOARD_CHAT_URL"] = chat
    django.setup()

    from django.contrib.auth import get_user_model
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    user, _ = get_user_model().objects.get_or_create(username=ADMIN)
    user.is_staff = user.is_superuser = True
    user.set_password(password)
    user.save()


def _free_port() -> int:
    """Return the port that one expects a Django site on, or any other one if it is taken."""
    for port in (FAVOURITE_PORT, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            number: int = probe.getsockname()[1]
            return number
    raise SystemExit("There is no free port on 127.0.0.1.")


@contextmanager
def _chat_that_is_down_twice() -> Iterator[str]:
    """Serve a chat that answers 503 to the first two messages about `checkout`, then 200."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Chat)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


class _Chat(BaseHTTPRequestHandler):
    refusals_left = 2

    def do_POST(self) -> None:  # the base class calls it by this name
        message = self.rfile.read(int(self.headers["Content-Length"]))
        is_refused = b"checkout" in message and _Chat.refusals_left > 0
        _Chat.refusals_left -= is_refused
        self.send_response(503 if is_refused else 200)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Print nothing."""


@contextmanager
def _running_worker() -> Iterator[None]:
    command = ["django", "db_worker", "--interval=0.1", "--no-startup-delay"]
    with _running(command, FOLDER / "worker.log"):
        yield


@contextmanager
def _running_site(port: int) -> Iterator[str]:
    log = FOLDER / "server.log"
    command = ["gunicorn", "--worker-class=gthread", "--threads=8", "--no-control-socket"]
    command += [f"--bind=127.0.0.1:{port}", "example_project.wsgi"]
    with _running(command, log) as process:
        _wait_until_it_listens(process, port, log)
        yield f"http://127.0.0.1:{port}"


@contextmanager
def _running(module: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as written:
        process = subprocess.Popen(  # noqa: S603  # our own
            [sys.executable, "-m", *module], stdout=written, stderr=written
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)


def _wait_until_it_listens(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"The server did not start:\n{log.read_text()}") from None
            time.sleep(0.05)
        else:
            return


def _scenes() -> list[Scene]:
    from perfsee_webhooks import events
    from perfsee_webhooks.samples import sample_body

    bundle = sample_body(events.BUNDLE_FINISHED)
    first = Scene(title="bundle finished", body=bundle, status=204, ending="succeeded")
    others = {
        "lab snapshot completed": (events.LAB_SNAPSHOT_COMPLETED, "succeeded"),
        "lab report completed": (events.LAB_SNAPSHOT_REPORT_COMPLETED, "succeeded"),
        "source finished (no receiver)": (events.SOURCE_FINISHED, "unhandled"),
    }
    return [
        first,
        *(
            Scene(title=title, body=sample_body(event), status=204, ending=ending)
            for title, (event, ending) in others.items()
        ),
        Scene(
            title="the first one again",
            body=bundle,
            delivery_id=first.delivery_id,
            status=204,
            ending="succeeded once, came 2 times",
        ),
        Scene(
            title="its id, another body",
            body=bundle.replace(b'"score":57', b'"score":99'),
            delivery_id=first.delivery_id,
            status=409,
            ending="refused: conflict",
        ),
        Scene(
            title="forged, with a wrong secret",
            body=bundle,
            secret="guessed",  # noqa: S106  # that is the point
            status=400,
            ending="refused: wrong_signature",
        ),
        Scene(
            title="an impossible score",
            body=bundle.replace(b'"score":57', b'"score":5700'),
            status=204,
            ending="dead: ImpossibleScore: 5700 is not between 0 and 100",
        ),
        Scene(
            title="a chat that is down twice",
            body=bundle.replace(b'"name":"main"', b'"name":"checkout"'),
            status=204,
            ending="succeeded, after announce_score failed 2 times",
        ),
    ]


def _play(scenes: list[Scene], url: str) -> bool:
    """Send each scene and print what became of it; return whether all is as it should be."""
    from perfsee_webhooks import sending

    print(f"Sending {len(scenes)} requests to {url}\n")
    print(f"{'sent':<30} {'answer':>6} {'time':>9}  what became of it")
    print("-" * 100)
    right = 0
    for scene in scenes:
        headers = sending.perfsee_headers(scene.body, scene.secret, delivery_id=scene.delivery_id)
        answer = sending.post(url, scene.body, headers)
        ending = _ending(scene)
        is_right = (answer.status, ending) == (scene.status, scene.ending)
        right += is_right
        milliseconds = answer.duration.total_seconds() * 1000
        unexpected = "" if is_right else f"   UNEXPECTED, not {scene.status} and {scene.ending!r}"
        print(f"{scene.title:<30} {answer.status:>6} {milliseconds:6.1f} ms  {ending}{unexpected}")
    print("-" * 100)
    print(f"{right} of {len(scenes)} ended as they should.")
    return right == len(scenes)


def _ending(scene: Scene) -> str:
    """Wait until nothing is left to do for a scene, and say what the database tells of it."""
    from perfsee_webhooks.models import Delivery, ReceiverRun, Rejection

    refused = Rejection.objects.filter(delivery_id=scene.delivery_id).first()
    if scene.status != 204:
        return f"refused: {refused.reason}" if refused else "nothing was kept"
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        delivery = Delivery.objects.filter(delivery_id=scene.delivery_id).first()
        if delivery is not None and delivery.settled_at is not None:
            break
        if time.monotonic() > deadline:
            return f"still {delivery.state}" if delivery else "nothing was stored"
        time.sleep(0.02)
    if delivery.repeats:
        return f"{delivery.state} once, came {delivery.repeats + 1} times"
    failed = delivery.runs.filter(outcome=ReceiverRun.Outcome.FAILED)
    if not failed:
        return delivery.state
    if delivery.state == Delivery.State.DEAD:
        return f"dead: {failed[0].exception}"
    receiver = failed[0].receiver.rpartition(".")[2]
    return f"{delivery.state}, after {receiver} failed {len(failed)} times"


def _leave_running(origin: str, password: str) -> None:
    print(
        f"\nThe site is running until Ctrl-C:\n"
        f"  the board           {origin}/\n"
        f"  the deliveries      {origin}/admin/perfsee_webhooks/delivery/\n"
        f"  what was refused    {origin}/admin/perfsee_webhooks/rejection/\n"
        f"  log in as           {ADMIN}, with the password {password}",
        flush=True,
    )
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        print("\nStopped.")


if __name__ == "__main__":
    sys.exit(main())

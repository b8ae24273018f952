from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from io import StringIO
from typing import Any

import pytest
from django.conf import LazySettings
from django.core.management import CommandError, call_command

from perfsee_webhooks import events
from perfsee_webhooks.management.commands import perfsee_send
from perfsee_webhooks.models import Delivery, Rejection
from perfsee_webhooks.samples import sample_body

from .sites import SECRET

OWN_PATH = "/perfsee/webhook/"
LINE = re.compile(r"(\d{3}) +\d+\.\d ms  (\S+) +(\S+)")


def leave_waiting(primary_key: int) -> None:
    """Process nothing, so that no receiver still runs when the test has ended."""


@dataclass
class Sent:
    """What the command printed, and why it failed, if it did."""

    out: str
    err: str
    failure: str = ""
    status: int = 0

    @property
    def answers(self) -> list[tuple[str, ...]]:
        """The status, event and delivery id of each line."""
        matches = [LINE.fullmatch(line) for line in self.out.splitlines()]
        return [match.groups() for match in matches if match is not None]


def send(*arguments: str) -> Sent:
    out, err = StringIO(), StringIO()
    try:
        call_command("perfsee_send", *arguments, stdout=out, stderr=err)
    except CommandError as error:
        return Sent(out.getvalue(), err.getvalue(), str(error), error.returncode)
    return Sent(out.getvalue(), err.getvalue())


@pytest.fixture
def site(transactional_db: None, live_server: Any, webhook_setting: Callable[..., None]) -> str:
    """The address of a running site that stores deliveries and does not process them."""
    webhook_setting(PROCESSING=f"{__name__}.leave_waiting")
    return f"{live_server.url}{OWN_PATH}"


def test_perfsee_send__a_sample_of_each_event(site: str):
    sent = send("--url", site)
    stored = Delivery.objects.order_by("pk")
    assert (sent.err, sent.failure, sent.status) == ("", "", 0)
    assert len(sent.out.splitlines()) == len(sent.answers) == 4
    assert sent.answers == [("204", one.event_type, one.delivery_id) for one in stored]
    assert [one.event_type for one in stored] == list(events.KNOWN)
    assert all(bytes(one.body) == sample_body(one.event_type) for one in stored)
    assert {one.verified_by for one in stored} == {"SECRETS[0]"}


def test_perfsee_send__one_event_several_times(site: str):
    sent = send("--url", site, "--event", "source:finished", "--count", "3")
    assert [answer[:2] for answer in sent.answers] == [("204", "source:finished")] * 3
    assert Delivery.objects.values("delivery_id").distinct().count() == 3


@pytest.mark.parametrize("body", [b'{"eventType":"lab:a"}\r\n', b"\xff\x00", b""], ids=repr)
def test_perfsee_send__bytes_of_a_file(site: str, tmp_path, body):
    file = tmp_path / "body"
    file.write_bytes(body)
    assert send("--url", site, "--body", str(file)).failure == ""
    assert bytes(Delivery.objects.get().body) == body


@pytest.mark.parametrize("event_type", ["中文", r"a\nb", r"\ud83d"])
def test_perfsee_send__event_type_that_no_header_takes(site: str, tmp_path, event_type):
    file = tmp_path / "body.json"
    file.write_bytes(f'{{"eventType":"{event_type}"}}'.encode())
    assert send("--url", site, "--body", str(file)).failure == ""
    assert bytes(Delivery.objects.get().body) == file.read_bytes()


def test_perfsee_send__to_its_own_site(site: str, monkeypatch: pytest.MonkeyPatch):
    assert perfsee_send.ORIGIN == "http://127.0.0.1:8000"
    monkeypatch.setattr(perfsee_send, "ORIGIN", site.removesuffix(OWN_PATH))
    assert send("--event", "bundle:finished").failure == ""
    assert Delivery.objects.count() == 1


def test_perfsee_send__not_accepted(site: str):
    sent = send("--url", site, "--secret", "canary")
    assert [answer[0] for answer in sent.answers] == ["400"] * 4
    assert (sent.failure, sent.status) == ("4 of 4 deliveries were not accepted.", 1)
    assert sent.err.count("wrong_signature") == 4
    assert "canary" not in sent.out + sent.err
    assert Delivery.objects.count() == 0
    assert Rejection.objects.count() == 4


class Mischief(BaseHTTPRequestHandler):
    """Answers with what clears a screen, writes what was not so, and fills the clipboard."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(500)
        self.end_headers()
        self.wfile.write(b"\x1b[2J204  all is well\r\n\x1b]52;c;cm0K\x07")

    def log_message(self, *_told: Any) -> None:
        pass


def test_perfsee_send__lets_nobody_else_talk_to_the_terminal(webhook_setting):
    with HTTPServer(("127.0.0.1", 0), Mischief) as server:
        answering = threading.Thread(target=server.handle_request)
        answering.start()
        address = f"http://127.0.0.1:{server.server_port}/"
        sent = send("--url", address, "--event", "bundle:finished", "--secret", "a secret")
        answering.join()
    assert "204  all is well" in sent.err
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", sent.err)


def test_perfsee_send__some_not_accepted(site: str, webhook_setting):
    webhook_setting(MAX_BODY_BYTES=1500)
    sent = send("--url", site)
    assert sorted(answer[0] for answer in sent.answers) == ["204", "204", "204", "413"]
    assert sent.failure == "1 of 4 deliveries were not accepted."


def test_perfsee_send__never_prints_a_secret(site: str):
    sent = send("--url", site)
    assert SECRET not in sent.out + sent.err


@pytest.mark.parametrize(
    ("arguments", "failure"),
    [
        (["--count", "0"], "--count has to be 1 or more"),
        (["--count", "-1"], "--count has to be 1 or more"),
        (["--count", "many"], "invalid int value"),
        (["--event", "bundle:started"], "invalid choice: 'bundle:started'"),
        (["--url", "perfsee.example"], "The address has to begin with"),
        (["--url", "http://[::1"], "Invalid IPv6 URL"),
        (["--body", "/no/such/file"], "The body cannot be read: "),
        (["--body", "/"], "The body cannot be read: "),
    ],
    ids=" ".join,
)
def test_perfsee_send__mistake_of_the_user(arguments, failure):
    sent = send(*arguments)
    assert failure in sent.failure
    assert sent.out == ""


def test_perfsee_send__nobody_answers():
    # A port that is bound is nobody else's, and one that is not listened on refuses connections.
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        origin = f"http://127.0.0.1:{taken.getsockname()[1]}"
        sent = send("--url", origin)
    assert f"No answer from {origin}: " in sent.failure
    assert sent.status == 1


def test_perfsee_send__site_without_secrets(webhook_setting):
    webhook_setting(SECRETS=[])
    assert "give --secret" in send().failure


def test_perfsee_send__site_that_does_not_include_the_urls(settings: LazySettings):
    settings.ROOT_URLCONF = "django.contrib.auth.urls"
    assert "give --url" in send().failure

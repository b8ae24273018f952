from __future__ import annotations

import json
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from perfsee_webhooks import sending
from perfsee_webhooks.samples import sample_body
from perfsee_webhooks.sending import NotSent, perfsee_headers, post

VECTORS = json.loads((Path(__file__).parent / "vectors" / "signatures.json").read_bytes())
BODY = '{"eventType":"中文"}\n\x00'.encode()


@dataclass
class Receiver:
    """A real server on a port that the system picks: what it got, and what it answers.

    With the status 0 the answer is all that it writes.
    """

    origin: str
    status: int = 204
    answer: bytes = b""
    got: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            running.got.append((self.command, self.path, dict(self.headers), body))
            if running.status == 0:
                self.wfile.write(running.answer)
                return
            self.send_response(running.status)
            self.send_header("Content-Length", str(len(running.answer)))
            self.send_header("Location", "/elsewhere")
            self.end_headers()
            self.wfile.write(running.answer)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # its name there
            """Print nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        running = Receiver(origin=f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield running
        server.shutdown()
        thread.join()


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that takes connections and never answers one."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that is taken, so that nobody else gets it, and refuses connections."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["file"])
def test_perfsee_headers__as_perfsee_sends_them(vector):
    headers = perfsee_headers(sample_body(vector["event"]), vector["secret"], delivery_id="id")
    assert headers == {
        "Accept": "*/*",
        "Content-Type": "application/json",
        "User-Agent": "Perfsee-Hookshot/1",
        "X-Perfsee-Delivery": "id",
        "X-Perfsee-Event": vector["event"],
        "X-Perfsee-Hook-ID": sending.SAMPLE_HOOK_ID,
        "X-Perfsee-Hook-Project": "perfsee",
        "X-Perfsee-Signature-256": vector["signature"],
    }


def test_perfsee_headers__without_secret_unsigned():
    assert "X-Perfsee-Signature-256" not in perfsee_headers(BODY, None)


def test_perfsee_headers__delivery_id_is_a_new_uuid():
    ids = {perfsee_headers(BODY, None)["X-Perfsee-Delivery"] for _ in range(3)}
    assert len(ids) == len({uuid.UUID(delivery_id) for delivery_id in ids}) == 3


def test_perfsee_headers__hook_id():
    assert perfsee_headers(BODY, None, hook_id="1")["X-Perfsee-Hook-ID"] == "1"


@pytest.mark.parametrize("body", [b"", b"[]", b"{}"])
def test_perfsee_headers__body_that_names_nothing(body):
    headers = perfsee_headers(body, None)
    assert (headers["X-Perfsee-Event"], headers["X-Perfsee-Hook-Project"]) == ("unknown", "")


@pytest.mark.parametrize(
    ("path", "target"),
    [
        *(("", "/"), ("/", "/"), ("?b=c", "/?b=c")),
        *(("/a/", "/a/"), ("/a?b=c&d", "/a?b=c&d"), ("/a#fragment", "/a")),
    ],
)
def test_post__exact_bytes_and_headers(receiver: Receiver, path, target):
    headers = {"X-Perfsee-Delivery": "id", "Content-Type": "application/json"}
    answer = post(receiver.origin + path, BODY, headers)
    [(method, received_at, received, body)] = receiver.got
    assert (method, received_at, body) == ("POST", target, BODY)
    assert received.items() >= {**headers, "Connection": "close"}.items()
    assert answer.status == 204
    assert timedelta(0) < answer.duration < timedelta(seconds=10)


@pytest.mark.parametrize("status", [200, 400, 409, 503])
def test_post__answer(receiver: Receiver, status):
    receiver.status, receiver.answer = status, b'{"error":"canary"}'
    answer = post(receiver.origin, BODY, {})
    assert (answer.status, answer.body) == (status, receiver.answer)
    assert "canary" not in repr(answer)


@pytest.mark.parametrize("status", [301, 302, 307])
def test_post__redirect_is_not_followed(receiver: Receiver, status):
    receiver.status = status
    assert post(receiver.origin, BODY, {}).status == status
    assert len(receiver.got) == 1


@pytest.mark.parametrize(
    "url",
    [
        *(
            "",
            "perfsee.example",
            "//perfsee.example/",
            "ftp://perfsee.example/",
            "file:///etc/passwd",
        ),
        *("http://", "http:///path", "http://[::1", "http://127.0.0.1:port/"),
        "http://127.0.0.1:65536/",
    ],
)
def test_post__no_address(url):
    with pytest.raises(ValueError):  # noqa: PT011  # of urlsplit or our own
        post(url, BODY, {})


def test_post__connection_refused(closed_port: int):
    with pytest.raises(NotSent, match=f"127.0.0.1:{closed_port}/a: ConnectionRefusedError"):
        post(f"http://127.0.0.1:{closed_port}/a", BODY, {})


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (b"", "RemoteDisconnected"),
        (b"nonsense\r\n\r\n", "BadStatusLine"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", "IncompleteRead"),
    ],
    ids=["nothing", "no HTTP", "broken off"],
)
def test_post__no_whole_answer(receiver: Receiver, answer, failure):
    receiver.status, receiver.answer = 0, answer
    with pytest.raises(NotSent, match=f"No answer from {receiver.origin}: {failure}"):
        post(receiver.origin, BODY, {})


def test_post__tls_where_there_is_none(receiver: Receiver):
    with pytest.raises(NotSent, match="SSLError"):
        post(receiver.origin.replace("http:", "https:"), BODY, {})


def test_post__no_answer_in_time(monkeypatch: pytest.MonkeyPatch, silent_port: int):
    assert timedelta(seconds=30) == sending.TIMEOUT
    monkeypatch.setattr(sending, "TIMEOUT", timedelta(milliseconds=50))
    started = time.monotonic()
    with pytest.raises(NotSent, match="TimeoutError"):
        post(f"http://127.0.0.1:{silent_port}", BODY, {})
    assert time.monotonic() - started < 20


def test_post__message_shows_no_password(closed_port: int):
    with pytest.raises(ValueError, match="host's name") as raised:
        post(f"http://user:canary@127.0.0.1:{closed_port}/", BODY, {})
    assert "canary" not in str(raised.value)

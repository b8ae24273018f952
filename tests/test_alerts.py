"""The example project's alerts, and its announcements in a chat."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import django
import pytest
import time_machine
from django.core import mail
from django.utils import timezone

from example_project.board.receivers import announce_score
from perfsee_webhooks.envelope import Envelope
from perfsee_webhooks.exceptions import GiveUp
from perfsee_webhooks.models import Delivery
from perfsee_webhooks.payloads import BundleFinished
from perfsee_webhooks.processing import process
from perfsee_webhooks.sending import perfsee_headers

from .sites import SECRET

ADMIN = "admin@site.example"


@pytest.fixture(autouse=True)
def _admins(settings):
    settings.ADMINS = [ADMIN] if django.VERSION >= (6, 0) else [("Admin", ADMIN)]


@pytest.fixture
def chat(settings) -> Iterator[list[bytes]]:
    """A chat that is asked over HTTP, and what it was told; it is down for texts with `down`."""
    told: list[bytes] = []

    class Chat(BaseHTTPRequestHandler):
        def do_POST(self):
            told.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(503 if b"down" in told[-1] else 200)
            self.end_headers()

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Chat)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    settings.BOARD_CHAT_URL = f"http://127.0.0.1:{server.server_port}/"
    yield told
    server.shutdown()
    server.server_close()
    thread.join()


def be_dead(body: bytes, delivery_id: str) -> None:
    headers = perfsee_headers(body, SECRET, delivery_id=delivery_id)
    primary_key = Delivery.objects.record(Envelope.read(body, headers, "SECRETS[0]"))
    assert primary_key is not None
    left = process(primary_key)
    assert left is not None
    assert left.state == Delivery.State.DEAD


@pytest.mark.django_db
def test_mail_about_dead_delivery__comes_once_an_hour_for_failures_alike(body, connect):
    connect(name="picky", side_effect=GiveUp("no such project"))
    now = timezone.now()
    with time_machine.travel(now, tick=False) as traveller:
        be_dead(body, "one")
        be_dead(body, "two")
        assert [message.subject for message in mail.outbox] == [
            "[Django] Perfsee delivery one is dead"
        ]
        assert mail.outbox[0].to == [ADMIN]
        assert "GiveUp: no such project" in mail.outbox[0].body
        traveller.shift(3599)
        be_dead(body, "three")
        assert len(mail.outbox) == 1
        traveller.shift(2)
        be_dead(body, "four")
        assert len(mail.outbox) == 2


@pytest.mark.django_db
def test_mail_about_dead_delivery__tells_failures_of_two_receivers_apart(body, connect):
    connect(name="picky", side_effect=GiveUp("no such project"))
    connect(name="choosy", side_effect=GiveUp("no such branch"))
    be_dead(body, "one")
    assert len(mail.outbox) == 2


@pytest.mark.django_db
def test_announce_score__tells_the_chat(chat, delivery):
    announce_score(sender=Delivery, delivery=delivery, event=delivery.event)
    assert chat == [b'{"text": "main @ feat/webhook passed, score 57"}']


@pytest.mark.django_db
def test_announce_score__is_tried_again_where_the_chat_is_down(chat, delivery):
    delivery.summary = "down"
    with pytest.raises(OSError, match="503"):
        announce_score(sender=Delivery, delivery=delivery, event=delivery.event)


def test_announce_score__does_nothing_without_a_chat(settings):
    settings.BOARD_CHAT_URL = ""
    announce_score(sender=Delivery, delivery=Delivery(), event=BundleFinished())

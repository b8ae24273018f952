"""The receiver on real servers: what no test client can show."""

from __future__ import annotations

import json
import socket
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest

from perfsee_webhooks.samples import sample_body
from perfsee_webhooks.sending import perfsee_headers

from .sites import (
    GUNICORN_FRONTED,
    GUNICORN_SYNC,
    GUNICORN_THREADS,
    SECRET,
    UVICORN,
    UVICORN_FRONTED,
    Site,
    running_site,
)

COPIES = 200
SLEEP_SECONDS = 5
SERVERS = {
    "gunicorn-threads": GUNICORN_THREADS,
    "gunicorn-sync": GUNICORN_SYNC,
    "uvicorn": UVICORN,
    "gunicorn-fronted": GUNICORN_FRONTED,
    "uvicorn-fronted": UVICORN_FRONTED,
}


@pytest.fixture(params=SERVERS)
def site(request: pytest.FixtureRequest, site_database_url: str) -> Iterator[Site]:
    with running_site(SERVERS[request.param], site_database_url) as site:
        yield site


@pytest.fixture
def threaded_site(site_database_url: str) -> Iterator[Site]:
    server = (*GUNICORN_THREADS[:-1], "--workers=2", GUNICORN_THREADS[-1])
    with running_site(server, site_database_url) as site:
        yield site


def send_raw(site: Site, *parts: bytes) -> bytes:
    """Send bytes as they are, and return the whole answer."""
    address = urlsplit(site.origin)
    with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
        for part in parts:
            connection.sendall(part)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    return answer


def head(headers: dict[str, str], **more: str) -> bytes:
    lines = {"Host": "127.0.0.1", "Connection": "close", **headers, **more}
    written = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"POST /perfsee/webhook/ HTTP/1.1\r\n{written}\r\n".encode("latin-1")


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def reason_of(answer: bytes) -> str:
    return str(json.loads(answer.partition(b"\r\n\r\n")[2])["reason"])


def test_receive__stores_and_processes(site, body):
    assert site.send(body, "one").status == 204
    site.wait_until_settled()
    assert site.query("Delivery.objects.get().delivery_id") == "one"
    assert site.query("BundleScore.objects.get().builds") == "1"


@pytest.mark.once
def test_receive__takes_a_body_in_chunks_without_content_length(site, body):
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:100], body[100:]))
    headers = head(perfsee_headers(body, SECRET), **{"Transfer-Encoding": "chunked"})
    assert status_of(send_raw(site, headers, chunks, b"0\r\n\r\n")) == 204
    assert site.query("bytes(Delivery.objects.get().body)") == repr(body)


@pytest.mark.once
def test_receive__refuses_an_endless_body_in_chunks(threaded_site):
    headers = head(perfsee_headers(b"", SECRET), **{"Transfer-Encoding": "chunked"})
    megabyte = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
    answer = send_raw(threaded_site, headers, *[megabyte] * 12, b"0\r\n\r\n")
    assert status_of(answer) == 413


@pytest.mark.once
def test_receive__refuses_50_megabytes(site):
    large = b"x" * 50_000_000
    headers = head(perfsee_headers(large, SECRET), **{"Content-Length": str(len(large))})
    answer = send_raw(site, headers, large)
    assert status_of(answer) == 413
    assert reason_of(answer) == "The body has more than 10485760 bytes."


@pytest.mark.once
@pytest.mark.parametrize(
    "delivery_id",
    [
        pytest.param("", id="missing"),
        pytest.param("x" * 4000, id="over-long"),
        pytest.param("\xc3\xff\xfe", id="invalid-utf-8"),
        pytest.param("one\r\nX-Perfsee-Delivery: two", id="twice"),
        pytest.param("../../etc/passwd", id="path"),
    ],
)
def test_receive__refuses_a_hostile_delivery_id(threaded_site, body, delivery_id):
    headers = perfsee_headers(body, SECRET, delivery_id="placeholder")
    headers["X-Perfsee-Delivery"] = delivery_id
    sent = head(headers, **{"Content-Length": str(len(body))})
    assert status_of(send_raw(threaded_site, sent, body)) == 400
    assert threaded_site.query("Delivery.objects.count(), Rejection.objects.count()") == "(0, 1)"


@pytest.mark.once
def test_receive__refuses_a_body_that_breaks_off(threaded_site, body):
    headers = head(perfsee_headers(body, SECRET), **{"Content-Length": str(len(body))})
    address = urlsplit(threaded_site.origin)
    with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
        connection.sendall(headers + body[:-10])
        connection.shutdown(socket.SHUT_WR)
        answer = connection.recv(65536)
    assert not answer or status_of(answer) == 400
    assert threaded_site.query("Delivery.objects.count()") == "0"


@pytest.mark.once
def test_receive__answers_without_redirect_on_both_forms(site, body):
    for path in ("/perfsee/webhook", "/perfsee/webhook/"):
        sent = head(perfsee_headers(body, SECRET), **{"Content-Length": str(len(body))})
        answer = send_raw(site, sent.replace(b"/perfsee/webhook/", path.encode()), body)
        assert status_of(answer) == 204


@pytest.mark.parametrize("server", SERVERS)
def test_receive__answers_before_a_slow_receiver(server, site_database_url, body, record_property):
    slow = {
        "DJANGO_SETTINGS_MODULE": "tests.slow_app.settings",
        "SLOW_SECONDS": str(SLEEP_SECONDS),
    }
    with running_site(SERVERS[server], site_database_url, slow) as site:
        # A server loads the site with its first request, which takes seconds on a busy machine.
        assert site.send(body, **{"X-Perfsee-Signature-256": "sha256=" + "0" * 64}).status == 400
        answer = site.send(body)
        record_property("milliseconds_to_204", round(answer.duration.total_seconds() * 1000))
        assert answer.status == 204
        assert answer.duration.total_seconds() < SLEEP_SECONDS / 2
        site.wait_until_settled()
        slept = "ReceiverRun.objects.get(receiver__endswith='be_slow').duration.total_seconds()"
        assert float(site.query(slept)) >= SLEEP_SECONDS


def test_receive__many_copies_at_once_make_one_row_and_one_run(threaded_site, body):
    delivery_id = str(uuid.uuid4())
    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda _: threaded_site.send(body, delivery_id), range(COPIES)))
    assert Counter(answer.status for answer in answers) == {204: COPIES}
    threaded_site.wait_until_settled()
    assert threaded_site.query("[delivery.repeats for delivery in Delivery.objects.all()]") == str(
        [COPIES - 1]
    )
    runs = "ReceiverRun.objects.filter(receiver__endswith='keep_score').count()"
    assert threaded_site.query(runs) == "1"
    assert threaded_site.query("BundleScore.objects.get().builds") == "1"


def test_receive__many_deliveries_at_once_find_no_locked_database(threaded_site):
    bodies = [sample_body("bundle:finished"), sample_body("lab:snapshot-completed")] * 100
    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(threaded_site.send, bodies))
    assert Counter(answer.status for answer in answers) == {204: len(bodies)}
    threaded_site.wait_until_settled()
    assert not [line for line in threaded_site.printed if "locked" in line]
    assert threaded_site.query("Delivery.objects.exclude(state='succeeded').count()") == "0"
    assert threaded_site.query("BundleScore.objects.get().builds") == "100"


@pytest.mark.once
@pytest.mark.parametrize(
    "chunks",
    [
        pytest.param(b"zz\r\n", id="no-size"),
        pytest.param(b"1\r\nabc\r\n0\r\n\r\n", id="wrong-size"),
        pytest.param(b"0\r\nno colon\r\n\r\n", id="trailer"),
        pytest.param(b"0\r\nX: " + b"x" * 300_000 + b"\r\n\r\n", id="endless-trailer"),
    ],
)
def test_receive__refuses_broken_chunks(threaded_site, chunks):
    headers = head(perfsee_headers(b"{}", SECRET), **{"Transfer-Encoding": "chunked"})
    assert status_of(send_raw(threaded_site, headers, chunks)) == 400
    assert not [line for line in threaded_site.printed if line.startswith("Traceback")]

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from django.core import signals
from django.db import connection
from django.test import RequestFactory
from django.urls import NoReverseMatch, get_script_prefix, set_script_prefix
from django.utils import timezone, translation

from perfsee_webhooks import views
from perfsee_webhooks.exceptions import MalformedRequest
from perfsee_webhooks.handlers import THREADS, ASGIReceiveHandler, ReceiveHandler
from perfsee_webhooks.models import Rejection
from perfsee_webhooks.sending import perfsee_headers
from perfsee_webhooks.views import ReceiveView

from .conftest import PATH
from .documents import DOCS, blocks_of
from .sites import SECRET, UVICORN_FRONTED, running_site
from .ways import WAYS, client_by, nobody, scope_of, sent_by_asgi

PAGE = DOCS / "scaling.md"
IN_FRONT = [way for way, ask in WAYS.items() if ask is not None]


@pytest.fixture(params=IN_FRONT)
def client(request):
    return client_by(request.param)


def scope(path: str = PATH, **changes: Any) -> dict[str, Any]:
    return scope_of(RequestFactory().get(path).environ) | changes


def asked(handler: ASGIReceiveHandler, *scopes: dict[str, Any]) -> list[list[dict[str, Any]]]:
    """Ask a handler for all of these at once; return what it has sent for each."""

    async def ask(one: dict[str, Any]) -> list[dict[str, Any]]:
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b""}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        await handler(one, receive, send)
        return sent

    async def ask_all() -> list[list[dict[str, Any]]]:
        return await asyncio.gather(*map(ask, scopes))

    return asyncio.run(ask_all())


def test_wsgi__leaves_every_other_address_to_the_site():
    handler = ReceiveHandler(lambda environ, _start_response: [environ["PATH_INFO"]])
    for path in ("/", "/perfsee/", "/perfsee/webhook/x", "/perfsee/webhook//"):
        assert handler({"PATH_INFO": path}, None) == [path]


@pytest.mark.parametrize(
    "other",
    [
        {"type": "lifespan"},
        {"type": "websocket", "path": PATH},
        {"type": "http", "path": "/"},
        {"type": "http", "path": f"{PATH}x"},
        {"type": "http", "path": f"/below{PATH}"},
    ],
)
def test_asgi__leaves_everything_else_to_the_site(other):
    left = []

    async def application(scope, _receive, _send):
        left.append(scope)

    assert asked(ASGIReceiveHandler(application), other) == [[]]
    assert left == [other]


def test_asgi__knows_its_address_below_a_prefix():
    (sent,) = asked(ASGIReceiveHandler(nobody), scope(f"/below{PATH}", root_path="/below"))
    assert sent[0]["status"] == 405


def test_asgi__has_no_more_threads_than_it_is_given():
    used = set()

    def note(**_given):
        used.add(threading.get_ident())

    signals.request_finished.connect(note)
    try:
        answers = asked(ASGIReceiveHandler(nobody, threads=2), *[scope() for _ in range(20)])
    finally:
        signals.request_finished.disconnect(note)
    assert [start["status"] for start, _body in answers] == [405] * 20
    assert len(used) <= 2
    assert threading.get_ident() not in used


def test_asgi__answers_nobody_who_went_away_before_the_end_of_the_body():
    async def receive():
        return {"type": "http.disconnect"}

    asyncio.run(ASGIReceiveHandler(nobody)(scope(), receive, nobody))


@pytest.mark.django_db
@pytest.mark.parametrize(("sent_mb", "read_mb"), [(3, 3), (1000, 65)])
def test_asgi__keeps_no_more_of_a_body_than_it_reads(
    webhook_setting, monkeypatch, sent_mb, read_mb
):
    """Neither in memory nor on the disk; what it takes off the connection has a limit, too."""
    webhook_setting(MAX_BODY_BYTES=1000)
    kept: list[int] = []
    receive_delivery = ReceiveView.post

    def look(self, request):
        kept.append(len(request._stream.read()))
        request._stream.seek(0)
        return receive_delivery(self, request)

    monkeypatch.setattr(ReceiveView, "post", look)
    read = 0

    async def receive() -> dict[str, Any]:
        nonlocal read
        read += 1
        return {"type": "http.request", "body": b"x" * 2**20, "more_body": read < sent_mb}

    posted = scope_of(RequestFactory().post(PATH, b"", "application/json").environ)
    start, _body = sent_by_asgi(posted, receive)
    assert start["status"] == 413
    assert kept == [1001]
    assert read == read_mb


def test_asgi__begins_and_ends_a_request_in_one_thread():
    threads = []

    def note(**_given):
        threads.append(threading.get_ident())

    moments = (signals.request_started, signals.request_finished)
    for moment in moments:
        moment.connect(note)
    try:
        asked(ASGIReceiveHandler(nobody), scope())
    finally:
        for moment in moments:
            moment.disconnect(note)
    started, finished = threads
    assert started == finished


@pytest.mark.django_db(transaction=True)
def test_asgi__ends_what_the_server_gives_up(body, connect, monkeypatch):
    receiver = connect()
    stored, go_on, done = threading.Event(), threading.Event(), threading.Event()
    store = views._store

    def store_slowly(envelope):
        answer = store(envelope)
        stored.set()
        go_on.wait(30)
        return answer

    async def receive():
        return {"type": "http.request", "body": body}

    async def give_up():
        environ = RequestFactory().post(PATH, headers=perfsee_headers(body, SECRET)).environ
        task = asyncio.create_task(handler(scope_of(environ), receive, nobody))
        await asyncio.to_thread(stored.wait, 30)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        go_on.set()
        await asyncio.to_thread(done.wait, 30)

    def finish(**_given):
        done.set()
        connection.close()

    monkeypatch.setattr(views, "_store", store_slowly)
    handler = ASGIReceiveHandler(nobody)
    signals.request_finished.connect(finish)
    try:
        asyncio.run(give_up())
    finally:
        signals.request_finished.disconnect(finish)
    assert receiver.call_count == 1


@pytest.mark.django_db
def test_asgi__goes_on_once_the_answer_has_left_even_where_nobody_takes_it(
    body, connect, monkeypatch
):
    receiver = connect()

    async def fail(*_arguments):
        raise OSError("the client has gone")

    monkeypatch.setattr(ASGIReceiveHandler, "send_response", fail)
    with pytest.raises(OSError, match="the client has gone"):
        client_by("asgi").post(
            PATH, body, content_type="application/json", headers=perfsee_headers(body, SECRET)
        )
    assert receiver.call_count == 1


@pytest.mark.django_db
def test_answer__asks_no_middleware(post, body, settings):
    settings.MIDDLEWARE = ["tests.test_handlers.middleware_that_answers"]
    assert post(body).status_code == 204


def middleware_that_answers(_get_response):
    raise AssertionError("A middleware of the site was loaded.")


def test_asgi__opens_no_more_connections_than_it_has_threads(site_database_url, body):
    with running_site(UVICORN_FRONTED, site_database_url) as site:
        with ThreadPoolExecutor(32) as pool:
            answers = list(pool.map(lambda _: site.send(body), range(200)))
        assert Counter(answer.status for answer in answers) == {204: 200}
        if connection.vendor == "postgresql":
            with psycopg.connect(site_database_url) as asking:
                ((count,),) = asking.execute(_CONNECTIONS)
            assert 1 <= count <= THREADS
        site.wait_until_settled()
        assert site.query("Delivery.objects.filter(state='succeeded').count()") == "200"


_CONNECTIONS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND pid != pg_backend_pid()
"""


def test_answer__is_500_and_told_where_the_receiver_is_broken(client, monkeypatch, caplog):
    def fail(*_arguments):
        raise ValueError("a mistake")

    monkeypatch.setattr(views, "kept_headers", fail)
    client.raise_request_exception = False
    answer = client.post(PATH, b"", content_type="application/json")
    assert answer.status_code == 500
    assert "Internal Server Error: /perfsee/webhook/" in caplog.text
    assert "a mistake" in caplog.text


@pytest.mark.parametrize(
    ("title", "handler"), [("wsgi.py", ReceiveHandler), ("asgi.py", ASGIReceiveHandler)]
)
def test_scaling_md__shows_applications_that_receive(title, handler):
    (block,) = [each for each in blocks_of(PAGE, "python") if f"# {title}" in each.code]
    module: dict[str, Any] = {}
    exec(block.code, module)  # noqa: S102  # the page's own
    assert type(module["application"]) is handler
    assert PATH in module["application"].paths


def test_answer__is_in_the_sites_own_language_and_time_zone(client, monkeypatch):
    found = []

    def look(_body, _headers):
        found.append((translation.get_language(), timezone.get_current_timezone_name()))
        raise MalformedRequest("It was looked at.")

    monkeypatch.setattr(views, "verify_request", look)
    monkeypatch.setattr(Rejection.objects, "keep", lambda *_given: None)
    with translation.override("de"), timezone.override("Asia/Tokyo"):
        assert client.post(PATH, b"", content_type="application/json").status_code == 400
    assert found == [("en-us", "UTC")]


def test_handlers__ask_the_view_that_the_site_has(client, settings):
    settings.ROOT_URLCONF = "tests.guarded_urls"
    assert client.post(PATH, b"", content_type="application/json").status_code == 403


def test_asgi__knows_its_address_below_the_script_name_that_is_set(settings):
    settings.FORCE_SCRIPT_NAME = "/below"
    (sent,) = asked(ASGIReceiveHandler(nobody), scope(f"/below{PATH}"))
    assert sent[0]["status"] == 405


def test_handlers__know_their_address_wherever_the_process_says_it_is():
    before = get_script_prefix()
    set_script_prefix("/below/")
    try:
        handler = ReceiveHandler(nobody)
    finally:
        set_script_prefix(before)
    assert PATH in handler.paths


def test_handlers__want_the_receiver_among_the_urls(settings):
    settings.ROOT_URLCONF = "tests.admin_urls"
    for handler in (ReceiveHandler, ASGIReceiveHandler):
        with pytest.raises(NoReverseMatch, match="perfsee_webhooks"):
            handler(nobody)

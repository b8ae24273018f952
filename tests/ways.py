"""The ways to the receiver: behind the site's URLs, and by each handler in front of the site."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, Final

from asgiref.current_thread_executor import CurrentThreadExecutor
from django.core import signals
from django.core.handlers.wsgi import WSGIRequest
from django.db import close_old_connections
from django.http import HttpResponse
from django.test import Client

from perfsee_webhooks.handlers import ASGIReceiveHandler, ReceiveHandler

Environ = dict[str, Any]


def nobody(*_arguments: Any) -> Any:
    """Be the application behind a handler that has to answer by itself."""
    raise AssertionError("The request was left to the site's application.")


def by_wsgi(environ: Environ) -> HttpResponse:
    """Ask the handler for WSGI, as a server does."""
    answered: list[Any] = []
    answer = ReceiveHandler(nobody)(environ, lambda *given: answered.extend(given))
    content = b"".join(answer)
    answer.close()
    status, headers = answered
    return HttpResponse(content, status=int(status.split()[0]), headers=dict(headers))


def by_asgi(environ: Environ) -> HttpResponse:
    """Ask the handler for ASGI, as a server does."""
    body = environ["wsgi.input"].read()

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body}

    start, *parts = sent_by_asgi(scope_of(environ), receive)
    headers = {name.decode(): value.decode() for name, value in start["headers"]}
    content = b"".join(part["body"] for part in parts)
    return HttpResponse(content, status=start["status"], headers=headers)


def sent_by_asgi(scope: dict[str, Any], receive: Callable[[], Any]) -> list[dict[str, Any]]:
    """Ask the handler for ASGI, with this thread for all of its threads; return what it sends.

    So it has the database connection of the test, and what that has not committed.
    """
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    handler = ASGIReceiveHandler(nobody)
    handler.threads = this_thread = CurrentThreadExecutor(None)
    with ThreadPoolExecutor(1) as pool:
        answering = pool.submit(asyncio.run, handler(scope, receive, send))
        this_thread.run_until_future(answering)
        answering.result()
    return sent


def scope_of(environ: Environ) -> dict[str, Any]:
    """Return the scope that an ASGI server makes of a request."""
    named = {
        name.removeprefix("HTTP_"): value
        for name, value in environ.items()
        if name.startswith("HTTP_") or (name in {"CONTENT_TYPE", "CONTENT_LENGTH"} and value)
    }
    return {
        "type": "http",
        "method": environ["REQUEST_METHOD"],
        "path": environ["PATH_INFO"],
        "query_string": environ.get("QUERY_STRING", "").encode(),
        "headers": [
            (name.replace("_", "-").lower().encode(), str(value).encode("latin-1"))
            for name, value in named.items()
        ],
    }


WAYS: Final = MappingProxyType({"view": None, "wsgi": by_wsgi, "asgi": by_asgi})


def client_by(way: str) -> Client:
    """Return a client that asks the receiver in one of the ways."""
    client = Client()
    ask = WAYS[way]
    if ask is not None:
        client.handler = _Asking(ask)  # type: ignore[assignment]  # a way is called likewise
    return client


class _Asking:
    def __init__(self, ask: Callable[[Environ], HttpResponse]) -> None:
        self._ask = ask

    def __call__(self, environ: Environ) -> HttpResponse:
        with _connections_left_open():
            answer: Any = self._ask(environ)
        answer.wsgi_request = WSGIRequest(environ)
        return answer  # type: ignore[no-any-return]  # as above


@contextmanager
def _connections_left_open() -> Iterator[None]:
    """Leave the test its connection, as Django's client does."""
    for signal in (signals.request_started, signals.request_finished):
        signal.disconnect(close_old_connections)
    try:
        yield
    finally:
        for signal in (signals.request_started, signals.request_finished):
            signal.connect(close_old_connections)

"""The receiver in front of a site's own application, as Django's handlers of static files are.

It asks the view that the site's URLs have, without the site's middleware and without searching for
it each time. A handler answers the receiver's address, and leaves every other to the application:

    application = ReceiveHandler(get_wsgi_application())
    application = ASGIReceiveHandler(get_asgi_application())
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import IO, Any, Final
from urllib.parse import unquote

from django.core import signals
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler, get_script_prefix
from django.core.handlers.base import BaseHandler
from django.core.handlers.exception import convert_exception_to_response
from django.core.handlers.wsgi import WSGIHandler, get_path_info
from django.http import HttpRequest, HttpResponseBase
from django.urls import get_script_prefix as current_script_prefix
from django.urls import resolve, reverse, set_script_prefix
from django.utils import timezone, translation

from .conf import MAX_DISCARDED_BYTES, webhook_settings

THREADS: Final = 8
# For how long a thread waits for a server that does not take the answer.
SEND_SECONDS: Final = 30


class _ReceiverAlone(BaseHandler):
    """What both handlers have in common: one address, and the view that the site has there."""

    def load_middleware(self, is_async: bool = False) -> None:  # noqa: FBT001, FBT002  # Django's
        """Load none: the view is asked at once.

        Raises:
            NoReverseMatch: `perfsee_webhooks.urls` is not among the site's URLs, or below a part of
                an address that varies.
        """
        reversed_path = unquote(reverse("perfsee_webhooks:receive"))
        path = "/" + reversed_path.removeprefix(current_script_prefix())
        view = resolve(path).func
        self.paths = frozenset({path, path.removesuffix("/")})
        self._middleware_chain = convert_exception_to_response(view)

    def get_response(self, request: HttpRequest) -> HttpResponseBase:
        """Answer in the site's own language and time zone, whatever the thread had before."""
        translation.deactivate()
        timezone.deactivate()
        return super().get_response(request)


class ReceiveHandler(_ReceiverAlone, WSGIHandler):
    """A WSGI application that receives deliveries, and leaves the rest to another one."""

    def __init__(self, application: Any) -> None:
        super().__init__()
        self.application = application

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        """Answer a request, as PEP 3333 has it."""
        if get_path_info(environ) in self.paths:
            return super().__call__(environ, start_response)
        return self.application(environ, start_response)


class ASGIReceiveHandler(_ReceiverAlone, ASGIHandler):
    """An ASGI application that receives deliveries, and leaves the rest to another one.

    It has so many threads, which live as long as the process, and needs no more database
    connections than these. Django has a new thread for each request, and with it a new connection.
    """

    def __init__(self, application: Any, *, threads: int = THREADS) -> None:
        super().__init__()
        self.application = application
        self.threads: Executor = ThreadPoolExecutor(threads, "perfsee_webhooks")

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Answer a request, as the specification of ASGI has it."""
        if scope["type"] == "http" and _path_in(scope) in self.paths:
            await self.handle(scope, receive, send)
        else:
            await self.application(scope, receive, send)

    async def handle(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Have one thread answer a request and do what is left once the answer has gone.

        What a thread has begun it ends, even if the server gives the request up meanwhile.
        """
        try:
            body = await self.read_body(_bounded(receive))
        except RequestAborted:
            return
        loop = asyncio.get_running_loop()

        def send_from_thread(response: HttpResponseBase) -> None:
            sending = asyncio.run_coroutine_threadsafe(self.send_response(response, send), loop)
            try:
                sending.result(SEND_SECONDS)
            finally:
                sending.cancel()

        await loop.run_in_executor(self.threads, self._answer, scope, body, send_from_thread)

    def _answer(
        self, scope: dict[str, Any], body: IO[bytes], send: Callable[[HttpResponseBase], None]
    ) -> None:
        response = self._respond(scope, body)
        try:
            send(response)
        finally:
            response.close()

    def _respond(self, scope: dict[str, Any], body: IO[bytes]) -> HttpResponseBase:
        set_script_prefix(get_script_prefix(scope))
        signals.request_started.send(sender=type(self), scope=scope)
        request, refusal = self.create_request(scope, body)
        response: Any = refusal if request is None else self.get_response(request)
        response._resource_closers.append(body.close)
        response._handler_class = type(self)
        return response  # type: ignore[no-any-return]  # django-stubs do not know what it has


def _bounded(receive: Any) -> Any:
    """Return `receive` with no more of the body than the receiver reads.

    Django has all of it on the disk before a view may refuse it. What is beyond is taken off the
    connection up to a limit, as the receiver does, so that the answer is not lost with it.
    """
    size, kept = 0, webhook_settings.max_body_bytes + 1

    async def receive_bounded() -> dict[str, Any]:
        nonlocal size
        message: dict[str, Any] = await receive()
        chunk = message.get("body", b"")
        wanted = chunk[: max(kept - size, 0)]
        size += len(chunk)
        follows = message.get("more_body", False) and size < kept + MAX_DISCARDED_BYTES
        return {**message, "body": wanted, "more_body": follows}

    return receive_bounded


def _path_in(scope: dict[str, Any]) -> str:
    """Return the path below where the application is mounted, as Django does."""
    path: str = scope["path"]
    return path.removeprefix(get_script_prefix(scope))

"""The receiver in front of a site's own application, as Django's handlers of static files are.

It is the view that the site's URLs have, asked without the site's middleware and without the search
for it. Each handler answers the receiver's address and leaves every other to the application:

    application = ReceiveHandler(get_wsgi_application())
    application = ASGIReceiveHandler(get_asgi_application())
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import IO, Any, Final

from django.core import signals
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler, get_script_prefix
from django.core.handlers.base import BaseHandler
from django.core.handlers.exception import convert_exception_to_response
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpResponseBase
from django.urls import reverse, set_script_prefix

THREADS: Final = 8


class _ReceiverAlone(BaseHandler):
    """What both handlers have in common: one address, and one view behind it."""

    def load_middleware(self, is_async: bool = False) -> None:  # noqa: FBT001, FBT002  # Django's
        """Load none: the view is asked at once.

        Raises:
            NoReverseMatch: `perfsee_webhooks.urls` is not among the site's URLs.
        """
        from .views import ReceiveView  # noqa: PLC0415  # its models are there once the site's are

        path = reverse("perfsee_webhooks:receive")
        self.paths = frozenset({path, path.removesuffix("/")})
        self._middleware_chain = convert_exception_to_response(ReceiveView.as_view())


class ReceiveHandler(_ReceiverAlone, WSGIHandler):
    """A WSGI application that receives deliveries, and leaves the rest to another one."""

    def __init__(self, application: Any) -> None:
        super().__init__()
        self.application = application

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        """Answer a request, as PEP 3333 has it."""
        if environ.get("PATH_INFO") in self.paths:
            return super().__call__(environ, start_response)
        return self.application(environ, start_response)


class ASGIReceiveHandler(_ReceiverAlone, ASGIHandler):
    """An ASGI application that receives deliveries, and leaves the rest to another one.

    It has so many threads, which live as long as the process and keep a database connection each.
    Django has a new thread for each request, and with it a new connection.
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
        """Have a thread ask the view, and do in a thread what is left once the answer has gone."""
        try:
            body = await self.read_body(receive)
        except RequestAborted:
            return
        loop = asyncio.get_running_loop()
        response = await loop.run_in_executor(self.threads, self._respond, scope, body)
        try:
            await self.send_response(response, send)
        finally:
            await loop.run_in_executor(self.threads, response.close)

    def _respond(self, scope: dict[str, Any], body: IO[bytes]) -> HttpResponseBase:
        set_script_prefix(get_script_prefix(scope))
        signals.request_started.send(sender=type(self), scope=scope)
        request, refusal = self.create_request(scope, body)
        answer: Any = refusal if request is None else self.get_response(request)
        answer._resource_closers.append(body.close)
        answer._handler_class = type(self)
        return answer  # type: ignore[no-any-return]  # django-stubs do not know what it has


def _path_in(scope: dict[str, Any]) -> str:
    """Return the path below where the application is mounted."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path") or "")

"""Flaws in how a request is read, and in the server that reads it."""

from __future__ import annotations

import json
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

from ..small import PATH, Answer, Refused, Request, SmallReceiver
from .race import RACE_SECONDS


class TrustsTheHeadersEvent(SmallReceiver):
    """The header is there before the body is parsed, but only the body is signed."""

    def event(self, request: Request) -> str:
        return self.header(request, "X-Perfsee-Event") or super().event(request)


class RefusesDisagreement(SmallReceiver):
    """A header that says otherwise looks forged; Perfsee's own page writes it with a dash."""

    def event(self, request: Request) -> str:
        event = super().event(request)
        if self.header(request, "X-Perfsee-Event") not in (event, ""):
            raise Refused(400)
        return event


class NeedsTheEventHeader(SmallReceiver):
    """`headers["X-Perfsee-Event"]`: Perfsee sends it always, a proxy may not pass it on."""

    def event(self, request: Request) -> str:
        if "X-Perfsee-Event" not in request.headers:
            raise KeyError("X-Perfsee-Event")
        return super().event(request)


class TakesOneCaseOfHeaders(SmallReceiver):
    """Headers become a dict, in which a proxy that writes them in small letters finds nothing."""

    def header(self, request: Request, name: str) -> str:
        values = [value for written, value in request.headers.items() if written == name]
        return values[0] if len(values) == 1 else ""


class DecodesHeadersStrictly(SmallReceiver):
    """A header is read as UTF-8 to be logged, and bytes that are not end in an error."""

    def event(self, request: Request) -> str:
        for name in ("X-Perfsee-Hook-ID", "X-Perfsee-Hook-Project"):
            self.header(request, name).encode("latin-1").decode()
        return super().event(request)


class WantsItsContentType(SmallReceiver):
    """`Content-Type == "application/json"`, and a charset behind it is a 415."""

    def verify(self, request: Request) -> None:
        if request.headers.get("Content-Type") != "application/json":
            raise Refused(415)
        super().verify(request)


class StoresTheParsedBody(SmallReceiver):
    """A JSON column is handy, but the bytes that were signed are gone, and some do not fit in."""

    def kept(self, request: Request) -> bytes:
        return json.dumps(json.loads(request.body), ensure_ascii=False).encode()


class RefusesUnknownEvents(SmallReceiver):
    """Four events are documented, and a 400 to a fifth is never sent again."""

    def event(self, request: Request) -> str:
        event = super().event(request)
        if not event.startswith(("bundle:", "lab:", "source:")):
            raise Refused(400)
        return event


class ReadsThePayloadFirst(SmallReceiver):
    """The project is looked up before anything is stored, and Perfsee may send null for it."""

    def event(self, request: Request) -> str:
        payload = json.loads(request.body)["payload"]
        payload["data"]["project"]["id"]
        return super().event(request)


class ReadsOnce(SmallReceiver):
    """One `read` returns all that there is, on a fast network, of a small body."""

    def read_bytes(self, handler: BaseHTTPRequestHandler, length: int) -> bytes:
        return handler.rfile.read1(length)


class TrustsTheContentLength(SmallReceiver):
    """`read(int(length))`: a text that is no number is an error, and -1 reads to the end."""

    def length(self, handler: BaseHTTPRequestHandler) -> int:
        return int(handler.headers.get("Content-Length", 0))


class SharesItsRequest(SmallReceiver):
    """The request at hand is kept in an attribute, and another thread puts its own there."""

    current: Request

    def handle(self, request: Request, answer: Answer) -> None:
        self.current = request
        time.sleep(RACE_SECONDS)
        super().handle(self.current, answer)


class ServesOneAtATime(SmallReceiver):
    """The server of a tutorial, in which one slow client holds up all the others."""

    server_class = HTTPServer


class RedirectsToTheSlash(SmallReceiver):
    """The framework redirects to the address with a slash, and a POST becomes a GET on the way."""

    paths = (PATH,)


class GreetsVisitors(SmallReceiver):
    """A GET is answered 200 to see whether it runs; a redirected delivery is then lost unseen."""

    def handle_get(self) -> int:
        return 200

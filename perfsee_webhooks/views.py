"""The receiver: read, verify, parse, store, answer, hand over. `post()` is the whole way."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from functools import partial
from typing import Any, Protocol

from django.contrib.auth.decorators import login_not_required
from django.db import Error as DatabaseFailure
from django.db import connections, router
from django.db.transaction import non_atomic_requests
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.views import View
from django.views.decorators.csrf import csrf_exempt

from . import tasks
from .conf import MAX_DISCARDED_BYTES, webhook_settings
from .envelope import Envelope, kept_headers
from .exceptions import BodyTooLarge, MalformedRequest, NotStored, RequestRefused
from .log import ids, ids_of
from .models import Delivery, Rejection
from .outage import patiently
from .spool import Spool
from .verification import verify_request

logger = logging.getLogger(__name__)

_CHUNK_BYTES = 64 * 1024


class ReceiveView(View):
    """Answers Perfsee's deliveries: 204 once the exact bytes are committed, and not before."""

    http_method_names = ("post",)

    @classmethod
    def as_view(cls, **initkwargs: Any) -> Any:
        """Return the view, outside the transaction of `ATOMIC_REQUESTS` on every database.

        The row has to be committed before the answer, and a failing request must not take it
        back.
        """
        # As decorators of `dispatch` they would be applied anew for each request.
        view = csrf_exempt(login_not_required(super().as_view(**initkwargs)))
        for alias in connections:
            view = non_atomic_requests(using=alias)(view)
        return view

    def post(self, request: HttpRequest) -> HttpResponseBase:
        """Store a delivery of Perfsee and have it processed."""
        headers = kept_headers(request.META)
        body, verified_by = b"", ""
        try:
            body = _read_body(request, webhook_settings.max_body_bytes)
            verified_by = verify_request(body, headers)
            envelope = Envelope.read(body, headers, verified_by)
            envelope.require_project(webhook_settings.projects_for(envelope.hook_id))
            primary_key, told = _store(envelope)
        except RequestRefused as refusal:
            return _refused(refusal, headers, body, verified_by)
        response = HttpResponse(status=204)
        tasks.after(response, partial(_go_on, primary_key, envelope, told))
        return response

    def http_method_not_allowed(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Say that only POST is answered."""
        answer = _answer(405, "method_not_allowed", "Webhooks are sent with POST.")
        answer["Allow"] = "POST"
        return answer


def _store(envelope: Envelope) -> tuple[int | None, str]:
    """Store a verified request in the database, or in the spool while that is away.

    Return the primary key of a new delivery, and what is to be logged.
    """
    try:
        primary_key = patiently(
            partial(Delivery.objects.receive, envelope),
            using=router.db_for_write(Delivery),
            wait=webhook_settings.database_wait,
        )
    except DatabaseFailure as error:
        logger.exception(
            "Delivery %s is verified, but the database did not take it.",
            envelope.delivery_id,
            extra=ids_of(envelope),
        )
        spool = Spool.of_site()
        if spool is None:
            raise NotStored("The delivery could not be stored.") from error
        spool.keep(envelope)
        return None, "Delivery %s is kept on the disk until the database takes it."
    if primary_key is None:
        return None, "Delivery %s came again."
    return primary_key, "Delivery %s was stored."


def _go_on(primary_key: int | None, envelope: Envelope, told: str) -> None:
    """Log what came, and have it processed if it is new, both once the answer has left."""
    if logger.isEnabledFor(logging.INFO):
        logger.info(told, envelope.delivery_id, extra=ids_of(envelope))
    if primary_key is not None:
        tasks.start(primary_key)


def _refused(
    refusal: RequestRefused, headers: dict[str, str], body: bytes, verified_by: str
) -> HttpResponse:
    """Answer a refused request, and keep it where a person will see it."""
    if not isinstance(refusal, NotStored):
        try:
            kept = Rejection.objects.keep(refusal, headers, body, verified_by)
        except DatabaseFailure:
            logger.exception(
                "A refused request (%s) could not be kept.",
                refusal.code,
                extra=ids(reason=refusal.code),
            )
        else:
            _log_refusal(kept)
    return _answer(refusal.status, refusal.code, str(refusal))


def _log_refusal(kept: Rejection | None) -> None:
    """Tell of a refused request that is kept: anyone can send more of them than a log can hold."""
    if kept is not None:
        logger.warning(
            "A request was refused: %s",
            kept.detail,
            extra=ids_of(kept, rejection=kept.pk, reason=kept.reason),
        )


def _answer(status: int, code: str, reason: str) -> JsonResponse:
    answer = JsonResponse({"error": code, "reason": reason}, status=status)
    # Where no `CommonMiddleware` says so, a server would send it in chunks.
    answer["Content-Length"] = str(len(answer.content))
    return answer


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


def _read_body(request: HttpRequest, limit: int) -> bytes:
    """Return the bytes of the body, without the limits and the parsing of Django's `body`.

    Raises:
        BodyTooLarge: it has more than `limit` bytes.
        MalformedRequest: it broke off.
    """
    stream, declared = _stream_of(request), _declared_length(request)
    try:
        body = b"" if declared > limit else b"".join(_chunks(stream, limit + 1))
        size = max(declared, len(body))
        if size > limit:
            _discard_rest(stream)
    except Exception as error:  # a server tells of broken chunks by an error of its own
        raise MalformedRequest("The body broke off before its end.") from error
    if size > limit:
        raise BodyTooLarge(f"The body has more than {limit} bytes.", size=size)
    return body


def _declared_length(request: HttpRequest) -> int:
    """Return the Content-Length, 0 for one that is no number of at most 18 digits.

    Python refuses to read a number of thousands of digits; what is read is bounded all the same.
    """
    declared = request.META.get("CONTENT_LENGTH") or "0"
    return int(declared) if re.fullmatch(r"[0-9]{1,18}", declared) else 0


def _stream_of(request: HttpRequest) -> _Readable:
    """Return what the body is read from.

    Django reads no body without a Content-Length under WSGI, but a proxy may send one in chunks:
    a server that knows where it ends says so with `wsgi.input_terminated`.
    """
    environ = getattr(request, "environ", {})
    if environ.get("wsgi.input_terminated") and not environ.get("CONTENT_LENGTH"):
        return environ["wsgi.input"]  # type: ignore[no-any-return]  # PEP 3333
    return request


def _chunks(stream: _Readable, size: int) -> Iterator[bytes]:
    while size and (chunk := stream.read(min(size, _CHUNK_BYTES))):
        size -= len(chunk)
        yield chunk


def _discard_rest(stream: _Readable) -> None:
    """Read on, up to a limit: a connection closed on unread bytes takes the answer with it."""
    for _chunk in _chunks(stream, MAX_DISCARDED_BYTES):
        pass

"""Django views that do what the receiver must do, each storing in another usual way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from .models import Row
from .work import INSERT, is_signed, row_of

_Store = Callable[[tuple[Any, ...]], None]
_COLUMNS: Final = ("delivery_id", "event_type", "project", "body", "received_at")


def view_storing_by(store: _Store) -> Callable[[HttpRequest], HttpResponse]:
    """Return the view that stores a row in this way."""

    @csrf_exempt
    def view(request: HttpRequest) -> HttpResponse:
        body = request.body
        if not is_signed(body, request.headers["X-Perfsee-Signature-256"]):
            return HttpResponse(status=400)
        store(row_of(body, request.headers["X-Perfsee-Delivery"]))
        return HttpResponse(status=204)

    return view


def _by_raw_insert(row: tuple[Any, ...]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(INSERT, row)


def _model(row: tuple[Any, ...]) -> Row:
    return Row(**dict(zip(_COLUMNS, row, strict=True)))


def _by_save(row: tuple[Any, ...]) -> None:
    _model(row).save(force_insert=True)


def _by_bulk_create(row: tuple[Any, ...]) -> None:
    Row._default_manager.bulk_create([_model(row)], ignore_conflicts=True)


def _by_get_or_create(row: tuple[Any, ...]) -> None:
    values = dict(zip(_COLUMNS, row, strict=True))
    Row._default_manager.get_or_create(delivery_id=values.pop("delivery_id"), defaults=values)


bare = view_storing_by(_by_raw_insert)
by_save = view_storing_by(_by_save)
by_bulk_create = view_storing_by(_by_bulk_create)
by_get_or_create = view_storing_by(_by_get_or_create)


class OfRestFramework(APIView):
    """The bare view as one of Django REST framework, with all that can be switched off, off."""

    authentication_classes: tuple[type, ...] = ()
    permission_classes: tuple[type, ...] = ()

    def post(self, request: Request) -> Response:
        """Store a delivery."""
        body = request._request.body  # the documented way to the raw bytes
        if not is_signed(body, request.headers["X-Perfsee-Signature-256"]):
            return Response(status=400)
        _by_raw_insert(row_of(body, request.headers["X-Perfsee-Delivery"]))
        return Response(status=204)

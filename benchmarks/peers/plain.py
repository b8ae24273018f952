"""A bare WSGI function: what Python can do with no framework at all."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from threading import local
from typing import Any

import psycopg

from .work import INSERT, is_signed, row_of

_of_thread = local()


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Store a delivery."""
    body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    if not is_signed(body, environ["HTTP_X_PERFSEE_SIGNATURE_256"]):
        start_response("400 Bad Request", [])
        return []
    row = row_of(body, environ["HTTP_X_PERFSEE_DELIVERY"])
    _connection().execute(INSERT, row)
    start_response("204 No Content", [])
    return []


def _connection() -> psycopg.Connection[Any]:
    if not hasattr(_of_thread, "connection"):
        _of_thread.connection = psycopg.connect(os.environ["DATABASE_URL"], autocommit=True)
    connection: psycopg.Connection[Any] = _of_thread.connection
    return connection

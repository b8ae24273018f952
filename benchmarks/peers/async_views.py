"""An asynchronous Django view over psycopg's own pool: the quickest that ASGI allows."""

from __future__ import annotations

import os

from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from psycopg_pool import AsyncConnectionPool

from .work import INSERT, is_signed, row_of

_pool = AsyncConnectionPool(
    os.environ["DATABASE_URL"],
    min_size=8,
    max_size=8,
    kwargs={"autocommit": True},
    open=False,
)


@csrf_exempt
async def bare(request: HttpRequest) -> HttpResponse:
    """Store a delivery."""
    body = request.body
    if not is_signed(body, request.headers["X-Perfsee-Signature-256"]):
        return HttpResponse(status=400)
    row = row_of(body, request.headers["X-Perfsee-Delivery"])
    if _pool.closed:
        await _pool.open()
    async with _pool.connection() as connection:
        await connection.execute(INSERT, row)
    return HttpResponse(status=204)

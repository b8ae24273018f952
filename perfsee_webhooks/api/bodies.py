"""The exact bytes of a request, handed out so that no browser takes them for a page."""

from __future__ import annotations

import re
from typing import Any, Final

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import get_conditional_response, patch_cache_control
from django.utils.http import quote_etag
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request

BYTES: Final = "application/octet-stream"

_NOT_IN_A_FILE_NAME: Final = re.compile(r"[^0-9A-Za-z._-]")


class AnyAccept(BaseContentNegotiation):
    """Answers in the one way that there is, whatever was asked for."""

    def select_renderer(
        self, request: Request, renderers: Any, format_suffix: str | None = None
    ) -> tuple[Any, str]:
        """Return the first renderer."""
        return renderers[0], renderers[0].media_type


# What an answer of bytes is given: there is one form of it, and JSON where there are none.
AS_BYTES: Final[dict[str, Any]] = {
    "renderer_classes": (JSONRenderer,),
    "content_negotiation_class": AnyAccept,
}
DOCUMENTED_BYTES: Final = OpenApiResponse(
    OpenApiTypes.BINARY, "The exact bytes, with their SHA-256 as `ETag`."
)


def as_download(request: Request, body: bytes, *, name: str, sha256: str) -> HttpResponseBase:
    """Return the bytes as a file, or that they are those that the client has."""
    response = HttpResponse(body, content_type=BYTES)
    file_name = f"{_NOT_IN_A_FILE_NAME.sub('_', name)}.json"
    response["Content-Disposition"] = f'attachment; filename="{file_name}"'
    response["Content-Security-Policy"] = "sandbox; default-src 'none'"
    response["X-Content-Type-Options"] = "nosniff"
    response["ETag"] = etag = quote_etag(sha256)
    patch_cache_control(response, private=True)
    return get_conditional_response(request, etag=etag, response=response) or response

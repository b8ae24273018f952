"""What the list of deliveries shows as a file, on all of its pages."""

from __future__ import annotations

from typing import Any, Final, cast

from django.contrib.admin import ModelAdmin
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.urls import reverse
from django.views.decorators.http import require_GET

from ..export import Export, Format
from ..models import DeliveryQuerySet
from .base import may

EXPORT_URL: Final = "perfsee_webhooks_delivery_export"

# By the last part of the address, whose query belongs to the list: the format, and with bodies?
_KINDS: Final = {
    "ndjson": (Format.NDJSON, False),
    "ndjson-with-bodies": (Format.NDJSON, True),
    "csv": (Format.CSV, False),
}


@require_GET
def export_view(
    request: HttpRequest, kind: str, *, model_admin: ModelAdmin[Any]
) -> HttpResponseBase:
    """Stream what the list would show for the same query."""
    if kind not in _KINDS:
        raise Http404
    written_as, with_body = _KINDS[kind]
    if not model_admin.has_view_permission(request):
        raise PermissionDenied
    if with_body and not may(request, "view_delivery_body"):
        raise PermissionDenied
    try:
        changelist = model_admin.get_changelist_instance(request)
    except IncorrectLookupParameters:
        # The list says what is wrong with it.
        address = reverse(f"{model_admin.admin_site.name}:perfsee_webhooks_delivery_changelist")
        return HttpResponseRedirect(f"{address}?{request.GET.urlencode()}")
    deliveries = cast("DeliveryQuerySet", changelist.queryset)
    return Export(deliveries=deliveries, format=written_as, with_body=with_body).response(request)

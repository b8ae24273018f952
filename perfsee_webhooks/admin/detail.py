"""What the page of one delivery shows: its fields by who vouches for them, and all around them."""

from __future__ import annotations

from typing import Any, Final

from django.contrib import admin
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html

from .. import snippets
from ..agreement import disagreements
from ..models import Delivery
from .base import may
from .neighbours import neighbours
from .previous import Comparison
from .received import WITHHELD, Received
from .timeline import Timeline

MAX_QUOTED_BYTES: Final = 64 * 1024
MAX_SHARING_BODY: Final = 10

_Fieldsets = list[tuple[str | None, dict[str, Any]]]

_ANYONE: Final = (
    "This site takes requests without a signature, and this one had none: anyone may have sent it, "
    "with any body."
)
_SIGNED: Final = (
    "Read from the body, which was signed with the secret at {}: whoever sent it knows that secret."
)
_NOT_SIGNED: Final = (
    "The signature covers the body alone. Whoever has a signed body can send it again with another "
    "id, from another hook, at another moment."
)


def fieldsets_of(delivery: Delivery) -> _Fieldsets:
    """Return the fields of a delivery: where it stands, what was signed, and what nobody signed."""
    moments = {
        "settled": delivery.settled_at,
        "next_attempt": delivery.next_attempt_at,
        "lease_expires": delivery.lease_expires_at,
        "replay": delivery.replay_id,
        "pruned": delivery.body_pruned_at,
    }
    stands = ("shown_state", "attempts", *(name for name, value in moments.items() if value))
    body = ("summary", "event_type", "project", "branch", "commit_hash", "perfsee_page", "digest")
    signed, vouched = (
        ("What was signed", format_html(_SIGNED, delivery.verified_by))
        if delivery.is_signed
        else ("What the body says, which nobody signed", _ANYONE)
    )
    return [
        (None, _fieldset(stands)),
        (signed, _fieldset(body, vouched)),
        (
            "What nobody signed",
            _fieldset(
                ("delivery_id", "hook_id", "received"), _NOT_SIGNED if delivery.is_signed else ""
            ),
        ),
    ]


def _fieldset(fields: tuple[str, ...], description: str = "") -> dict[str, Any]:
    return {"classes": ("perfsee-plain",), "fields": fields, "description": description}


def detail_of(
    request: HttpRequest, model_admin: admin.ModelAdmin[Delivery], delivery: Delivery
) -> dict[str, Any]:
    """Return what the templates of the page need.

    A fixed number of statements: the body with its headers and the log of its repeats, those with
    the same body, the runs, the replay that it was last asked for by, the previous delivery, and
    one for each neighbour.
    """
    delivery.refresh_from_db(fields=("body", "headers", "repeat_log"))
    body = bytes(delivery.body)
    may_view_body = may(request, "view_delivery_body")
    return {
        "neighbours": neighbours(request, model_admin, delivery),
        "disagreements": list(
            disagreements(
                delivery.headers,
                event_type=delivery.event_type,
                project=delivery.project,
                body_size=None if delivery.body_pruned_at else len(body),
            )
        ),
        "sharing_body": list(Delivery.objects.sharing_body_with(delivery)[:MAX_SHARING_BODY]),
        "timeline": Timeline.of(delivery),
        "comparison": Comparison.of(delivery) if may_view_body else Comparison(note=WITHHELD),
        "may_view_replays": may(request, "view_replay"),
        "received": (
            Received.read(body, delivery.headers)
            if may_view_body
            else Received.withheld(delivery.headers)
        ),
        "body_size": len(body),
        "may_view_body": may_view_body,
        "snippets": _snippets(request, delivery, body) if may_view_body else {},
    }


def _snippets(request: HttpRequest, delivery: Delivery, body: bytes) -> dict[str, str]:
    if delivery.body_pruned_at or len(body) > MAX_QUOTED_BYTES:
        return {}
    again = snippets.Request(delivery_id=delivery.delivery_id, body=body, headers=delivery.headers)
    return {
        "script": snippets.signed_curl(again, _address_of_receiver(request)),
        "test": snippets.pytest_test(again),
    }


def _address_of_receiver(request: HttpRequest) -> str | None:
    """Return this site's own receiver, None where another process of it answers to Perfsee."""
    try:
        return request.build_absolute_uri(reverse("perfsee_webhooks:receive"))
    except NoReverseMatch:
        return None

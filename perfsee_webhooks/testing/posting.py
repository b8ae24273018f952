"""Post a delivery to the site as Perfsee does."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, cast

from django.conf import settings
from django.http import HttpResponse
from django.test import Client, override_settings
from django.urls import reverse

from ..conf import INLINE
from ..sending import SAMPLE_HOOK_ID, perfsee_headers
from .samples import sample_body

_SETTING: Final = "PERFSEE_WEBHOOKS"

# The settings belong to the whole process: of two who change them at once, one would restore what
# the other has set.
_one_at_a_time: Final = threading.RLock()


def signed_post(
    client: Client,
    event: str | bytes,
    /,
    *,
    secret: str | None = None,
    delivery_id: str | None = None,
    hook_id: str = SAMPLE_HOOK_ID,
    headers: Mapping[str, str | None] | None = None,
    **overrides: Any,
) -> HttpResponse:
    """Post a signed delivery to the receiver, have its receivers run, and return the answer.

    event:       the name of one of Perfsee's events, whose sample is sent with the `overrides`
                 that `sample_event` takes; or the exact bytes of a body
    secret:      what to sign with; by default one that the site takes for this one request, so
                 that a test needs no secret of its own
    delivery_id: by default a new one; the same one again is a repeat
    hook_id:     the hook that it says it comes from
    headers:     more headers, or others; one that is None is left out

    The receivers have run when this returns, whatever `PROCESSING` says. What they raise is
    recorded as their runs, as it is in production, and is not raised here: see `assert_received`.

    It may be called from several threads, and then posts one after the other.

    Raises:
        ValueError: there is no such event.
        TypeError: its sample has no such field, or the client is an asynchronous one.
    """
    if not isinstance(client, Client):
        raise TypeError("signed_post takes a Client: async receivers are run to their end as well.")
    body = event if isinstance(event, bytes) else sample_body(event, **overrides)
    if isinstance(event, bytes) and overrides:
        raise TypeError("A body that is given as bytes takes no fields.")
    with _one_at_a_time, _site_taking(secret) as signing_secret:
        sent: dict[str, str | None] = {
            **perfsee_headers(body, signing_secret, delivery_id=delivery_id, hook_id=hook_id),
            **(headers or {}),
        }
        answer = client.generic(
            "POST",
            reverse("perfsee_webhooks:receive"),
            body,
            content_type=sent.pop("Content-Type") or "",
            headers={name: value for name, value in sent.items() if value is not None},
        )
        return cast("HttpResponse", answer)


@contextmanager
def _site_taking(secret: str | None) -> Iterator[str]:
    """Run receivers at once, and where no secret is given take a new one beside the site's own."""
    setting = {**(getattr(settings, _SETTING, None) or {}), "PROCESSING": INLINE}
    if secret is None:
        secret = secrets.token_hex()
        setting["SECRETS"] = [secret, *(setting.get("SECRETS") or ())]
    with override_settings(**{_SETTING: setting}):
        yield secret

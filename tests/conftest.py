"""What the whole suite shares: real bodies, signed posts, and receivers that are connected."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import Mock, create_autospec

import pytest
from django.conf import LazySettings
from django.test import Client

from perfsee_webhooks import signals
from perfsee_webhooks.models import Delivery
from perfsee_webhooks.samples import sample_body
from perfsee_webhooks.sending import perfsee_headers

SECRET = "It’s a secret 🔑"
PATH = "/perfsee/webhook/"

Connect = Callable[..., Mock]


def documented_receiver(sender, delivery, event, **kwargs):
    """The signature that the documentation gives a receiver."""


@pytest.fixture
def connect(no_receivers: None) -> Connect:
    """Connects a receiver of the documented signature, and no other one is connected."""

    def connect_one(signal=signals.delivery_received, *, name="receiver", **behaviour: Any) -> Mock:
        receiver = create_autospec(documented_receiver, **behaviour)
        receiver.__module__, receiver.__qualname__ = "tests", name
        signal.connect(receiver, weak=False)
        return receiver

    return connect_one


@pytest.fixture
def no_receivers() -> Iterator[None]:
    """Takes away every receiver, and those that a test connects afterwards."""
    known = dict(signals._signals)
    receivers = {signal: list(signal.receivers) for signal in known.values()}
    for signal in known.values():
        _set_receivers(signal, [])
    yield
    signals._signals.clear()
    signals._signals.update(known)
    for signal, connected in receivers.items():
        _set_receivers(signal, connected)


def _set_receivers(signal: signals.EventSignal, receivers: list[Any]) -> None:
    signal.receivers = receivers
    signal.sender_receivers_cache.clear()


@pytest.fixture
def body() -> bytes:
    """The body of a finished bundle, as Perfsee's server writes it."""
    return sample_body("bundle:finished")


@pytest.fixture
def post(client: Client) -> Callable[..., Any]:
    """Posts a body as Perfsee does; headers given as None are left out, others are replaced."""

    def post_body(body: bytes, *, secret: str | None = SECRET, path: str = PATH, **changes: Any):
        headers = perfsee_headers(body, secret, delivery_id=changes.pop("delivery_id", None))
        for name, value in changes.pop("headers", {}).items():
            headers[name] = value
        return client.post(
            path,
            body,
            content_type="application/json",
            headers={name: value for name, value in headers.items() if value is not None},
        )

    return post_body


@pytest.fixture
def webhook_setting(settings: LazySettings) -> Callable[..., None]:
    """Changes keys of PERFSEE_WEBHOOKS for one test."""

    def change(**keys: Any) -> None:
        settings.PERFSEE_WEBHOOKS = {**settings.PERFSEE_WEBHOOKS, **keys}

    return change


@pytest.fixture
def delivery(db: None, body: bytes) -> Delivery:
    """A stored delivery of a finished bundle that waits."""
    from perfsee_webhooks.envelope import Envelope

    headers = perfsee_headers(body, SECRET)
    stored = Delivery.objects.record(Envelope.read(body, headers, "SECRETS[0]"))
    assert stored is not None
    return stored

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfsee_webhooks.agreement import disagreements
from perfsee_webhooks.envelope import Envelope, kept_headers
from perfsee_webhooks.samples import sample_body
from perfsee_webhooks.sending import perfsee_headers

from .strategies import EVENTS_OF_ANY_TYPES, TEXT

DELIVERED: dict[str, Any] = {"event_type": "bundle:finished", "project": "perfsee", "body_size": 42}


def told(headers, **delivered: Any):
    return [
        (one.header, one.header_says, one.body_says)
        for one in disagreements(headers, **{**DELIVERED, **delivered})
    ]


@pytest.mark.parametrize(
    ("headers", "delivered"),
    [
        ({}, {}),
        ({"X-Perfsee-Event": "bundle:finished", "X-Perfsee-Hook-Project": "perfsee"}, {}),
        ({"X-Perfsee-Event": "bundle-finished"}, {}),
        ({"X-Perfsee-Event": "package-published"}, {"event_type": "package:published"}),
        ({"X-Perfsee-Hook-Project": "perfsee"}, {"project": ""}),
        ({"X-Perfsee-Hook-Project": "p" * 500}, {"project": "p" * 99 + "…"}),
        ({"Content-Length": "42"}, {}),
        ({"Content-Length": "0042"}, {}),
        ({"Content-Length": "43"}, {"body_size": None}),
        ({"X-Perfsee-Delivery": "anything", "Host": "anything"}, {}),
    ],
)
def test_disagreements__are_none_where_both_say_the_same_or_one_says_nothing(headers, delivered):
    assert told(headers, **delivered) == []


@pytest.mark.parametrize(
    ("header", "value", "delivered", "body_says"),
    [
        ("X-Perfsee-Event", "bundle:failed", {}, "bundle:finished"),
        ("X-Perfsee-Event", "bundle:finished", {"event_type": "unknown"}, "unknown"),
        ("X-Perfsee-Hook-Project", "other-site", {}, "perfsee"),
        ("X-Perfsee-Hook-Project", "PERFSEE", {}, "perfsee"),
        ("Content-Length", "43", {}, "42"),
        ("Content-Length", "0", {}, "42"),
        ("Content-Length", "-42", {}, "42"),
        ("Content-Length", "4²", {}, "42"),
    ],
)
def test_disagreements__say_what_each_says(header, value, delivered, body_says):
    assert told({header: value}, **delivered) == [(header, value, body_says)]


def test_disagreements__of_one_delivery_are_all_told():
    headers = {"X-Perfsee-Event": "a", "X-Perfsee-Hook-Project": "b", "Content-Length": "3"}
    assert [header for header, *_ in told(headers)] == list(headers)


@given(EVENTS_OF_ANY_TYPES)
def test_disagreements__are_none_in_what_perfsee_sends(event):
    body = json.dumps(event).encode()
    sent = {**perfsee_headers(body, None, delivery_id="one"), "Content-Length": str(len(body))}
    meta = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in sent.items()}
    envelope = Envelope.read(body, kept_headers(meta), "SECRETS[0]")
    assert (
        told(
            envelope.headers,
            event_type=envelope.event_type,
            project=envelope.project,
            body_size=len(body),
        )
        == []
    )


@given(
    st.dictionaries(
        st.sampled_from(["X-Perfsee-Event", "X-Perfsee-Hook-Project", "Content-Length"]), TEXT
    )
)
def test_disagreements__take_any_headers(headers):
    body = sample_body("bundle:finished")
    for header, *_ in told(headers, body_size=len(body)):
        assert header in headers

from __future__ import annotations

import json

import pytest

from perfsee_webhooks import events
from perfsee_webhooks.samples import sample_body


@pytest.mark.parametrize("event_type", events.KNOWN)
def test_sample_body__of_each_event(event_type):
    body = sample_body(event_type)
    value = json.loads(body)
    assert value["eventType"] == event_type
    # As `JSON.stringify` writes it: compact, and not escaped to ASCII.
    assert body == json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def test_sample_body__dashed_name():
    assert sample_body("bundle-finished") == sample_body("bundle:finished")


@pytest.mark.parametrize("event_type", ["bundle:started", "", "../conf", "unknown"])
def test_sample_body__no_such_event(event_type):
    with pytest.raises(ValueError, match=", ".join(events.KNOWN)) as raised:
        sample_body(event_type)
    assert repr(event_type) in str(raised.value)

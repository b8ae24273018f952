"""What Hypothesis draws from: hostile text, any JSON, and bodies in which any key holds any of it.

The keys are those of the real samples, so that a key that is added to them is drawn too.
"""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from perfsee_webhooks import events
from perfsee_webhooks.samples import sample_body

# A slow machine is no mistake of what is tested.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")

# Every code point, lone surrogates too, which JSON can hold and no encoding can.
_CHARACTERS = st.characters(exclude_categories=())
_ODD = st.sampled_from(["\x00", "\x1b[31m", "\ud83d", "\u202e", "\u2028", "\r\n", "🔑", "é"])

TEXT = st.one_of(
    st.text(_CHARACTERS, max_size=20),
    st.lists(_ODD, max_size=5).map("".join),
    # Longer than any column.
    st.builds(lambda piece: piece * 300, st.one_of(_ODD, st.text(_CHARACTERS, min_size=1))),
)
_MOMENTS = st.datetimes().map(lambda moment: moment.isoformat()) | st.just("2022-12-18T23:12:04Z")
# Python reads no number of more digits.
_HUGE = st.integers(0, 4299).map(lambda zeros: 10**zeros)
_SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), _HUGE, TEXT, _MOMENTS, st.just("Failed")
)
ANY_JSON = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=10,
)


def _like(example: Any) -> st.SearchStrategy[Any]:
    """Draw what has the shape of an example, and at each place of it anything else instead."""
    if isinstance(example, dict):
        keys = {key: _like(value) for key, value in example.items()}
        return st.fixed_dictionaries({}, optional=keys) | ANY_JSON
    if isinstance(example, list):
        return st.lists(_like(example[0]), max_size=3) | ANY_JSON
    return ANY_JSON


def _like_sample(event_type: str) -> st.SearchStrategy[Any]:
    sample = json.loads(sample_body(event_type))
    names = st.sampled_from([event_type, event_type.replace(":", "-")])
    return st.fixed_dictionaries({"eventType": names, "payload": _like(sample["payload"])})


EVENTS_OF_ANY_TYPES = st.one_of(
    *[_like_sample(event_type) for event_type in events.KNOWN],
    st.fixed_dictionaries({}, optional={"eventType": ANY_JSON, "payload": ANY_JSON}),
)


def is_storable(text: str, max_length: int) -> bool:
    """Say whether each database takes the text: no NUL, no surrogate, not too long."""
    return (
        len(text) <= max_length
        and "\x00" not in text
        and not any("\ud800" <= character <= "\udfff" for character in text)
    )

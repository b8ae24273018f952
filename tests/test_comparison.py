import json
from decimal import getcontext
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfsee_webhooks.comparison import ABSENT, ItemId, differences
from perfsee_webhooks.samples import sample_body

from .strategies import ANY_JSON

ITEMS = st.lists(
    st.fixed_dictionaries({"id": st.integers(0, 3)}, optional={"value": ANY_JSON}), max_size=4
)
VALUES = ANY_JSON | ITEMS | st.fixed_dictionaries({}, optional={"a": ITEMS, "b": ANY_JSON})


def told(before, after):
    return [
        (str(one.change), str(one.place), one.before, one.after)
        for one in differences(before, after)
    ]


def at(value, steps):
    """Return what stands at a place, `ABSENT` if nothing does."""
    for step in steps:
        if isinstance(step, ItemId):
            found = [item for item in value if item["id"] == step.value]
            value = found[0] if found else ABSENT
        elif isinstance(value, dict):
            value = value.get(step, ABSENT)
        else:
            value = value[step] if step < len(value) else ABSENT
    return value


@given(VALUES)
def test_differences__of_a_value_with_itself_are_none(value):
    copy = json.loads(json.dumps(value))
    assert told(value, value) == told(copy, json.loads(json.dumps(copy))) == []


@given(VALUES, VALUES)
def test_differences__are_real_at_each_place_that_is_told(before, after):
    for one in differences(before, after):
        old, new = at(before, one.place.steps), at(after, one.place.steps)
        assert repr(old) != repr(new)
        if one.change == "reordered":
            assert sorted(map(repr, one.before)) == sorted(map(repr, one.after))
            assert one.before != one.after
        else:
            assert (old, new) == (one.before, one.after) or {repr(old), repr(new)} & {"nan"}
            assert (one.change == "added", one.change == "removed") == (
                old is ABSENT,
                new is ABSENT,
            )
        assert str(one.place)
        assert isinstance(one.by, str)


@given(VALUES, VALUES)
def test_differences__leave_nothing_out(before, after):
    is_same = json.dumps(before, sort_keys=True) == json.dumps(after, sort_keys=True)
    assert bool(told(before, after)) != is_same


def test_differences__of_two_bundles():
    after = json.loads(sample_body("bundle:finished"))
    before = json.loads(sample_body("bundle:finished"))
    before["payload"]["data"]["project"]["artifact"].update(score=54, toolkit="webpack")
    del before["payload"]["data"]["project"]["isPublic"]
    artifact = "payload.data.project.artifact"
    assert told(before, after) == [
        ("changed", f"{artifact}.score", 54, 57),
        ("removed", f"{artifact}.toolkit", "webpack", ABSENT),
        ("added", "payload.data.project.isPublic", ABSENT, False),
    ]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"a": 1}, {"a": None}, [("changed", "a", 1, None)]),
        ({"a": None}, {}, [("removed", "a", None, ABSENT)]),
        ({"a": {}}, {"a": []}, [("changed", "a", {}, [])]),
        ({"a": 1}, {"a": True}, [("changed", "a", 1, True)]),
        ({"a": 1}, {"a": 1.0}, [("changed", "a", 1, 1.0)]),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, []),
        (1, 2, [("changed", "$", 1, 2)]),
        (float("nan"), float("nan"), []),
        (0.0, -0.0, [("changed", "$", 0.0, -0.0)]),
        ([1, 2], [1], [("removed", "[1]", 2, ABSENT)]),
        ([[1]], [[2]], [("changed", "[0][0]", 1, 2)]),
        ({"a b": 1, 'c"': 1}, {}, [
            ("removed", '["a b"]', 1, ABSENT),
            ("removed", r'["c\""]', 1, ABSENT),
        ]),
        ({"x": {"\u202e": 1}}, {"x": {}}, [("removed", r'x["\u202e"]', 1, ABSENT)]),
        # By id: what is inserted does not move all that follows.
        (
            [{"id": 1, "v": 1}, {"id": 2, "v": 1}],
            [{"id": 0, "v": 1}, {"id": 1, "v": 1}, {"id": 2, "v": 2}],
            [
                ("changed", "[id=2].v", 1, 2),
                ("added", "[id=0]", ABSENT, {"id": 0, "v": 1}),
            ],
        ),
        ([{"id": 1}, {"id": 2}], [{"id": 2}, {"id": 1}], [("reordered", "$", [1, 2], [2, 1])]),
        ([{"id": "1"}], [{"id": 1}], [
            ("removed", '[id="1"]', {"id": "1"}, ABSENT),
            ("added", "[id=1]", ABSENT, {"id": 1}),
        ]),
        # By position: an id that is missing, twice there or no name.
        ([{"id": 1}, {}], [{"id": 1}, 3], [("changed", "[1]", {}, 3)]),
        ([{"id": 1}, {"id": 1}], [{"id": 1}], [("removed", "[1]", {"id": 1}, ABSENT)]),
        ([{"id": True}], [{"id": False}], [("changed", "[0].id", True, False)]),
    ],
)  # fmt: skip
def test_differences__are_told_by_place(before, after, expected):
    assert told(before, after) == expected


@pytest.mark.parametrize(
    ("before", "after", "by"),
    [
        (57, 60, "+3"),
        (60, 57, "-3"),
        (0.1, 0.3, "+0.2"),
        (57, 57.5, "+0.5"),
        (1, 1.0, ""),
        (True, 2, ""),
        ("57", 60, ""),
        (None, 60, ""),
        (1, float("inf"), ""),
        (float("nan"), 1, ""),
        (1.5, 10**4299, "+1.000000000000000000000000000E+4299"),
        (-(10**4299), 10**4299, "+2.000000000000000000000000000E+4299"),
    ],
)
def test_difference__of_numbers_says_by_how_much(before, after, by):
    (one,) = differences(before, after)
    assert one.by == by


def test_difference__of_numbers_does_not_depend_on_what_the_site_has_set():
    known, getcontext().prec = getcontext().prec, 2
    try:
        (one,) = differences(1000, 2345)
        assert one.by == "+1345"
    finally:
        getcontext().prec = known


def test_differences__of_any_depth():
    before: Any = 1
    after: Any = 2
    for _ in range(20_000):
        before, after = [before], [after]
    (one,) = differences(before, after)
    assert (one.before, one.after) == (1, 2)
    assert len(one.place.steps) == 20_000
    assert str(one.place) == "[0]" * 20_000

from __future__ import annotations

import copy
import json
import pickle
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum
from typing import Any

import pytest

from perfsee_webhooks.payloads import Artifact, ArtifactStatus, Bundle, Record, keys_of, record
from perfsee_webhooks.payloads.record import flag, integer, listed, moment, nested, number, one_of
from perfsee_webhooks.payloads.records import Records

CREATED_AT = datetime(2022, 12, 18, 23, 12, 4, 76000, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf(Record):
    name: str | None = record.text("name", "title", "key")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree(Record):
    text: str | None = record.text("value")
    integer: int | None = integer("value")
    number: float | None = number("value")
    flag: bool | None = flag("value")
    moment: datetime | None = moment("value")
    status: ArtifactStatus | None = one_of(ArtifactStatus, "value")
    leaf: Leaf = nested(Leaf, "value")
    same: Leaf = nested(Leaf)
    leaves: Sequence[Leaf] = listed(Leaf, "value")


def scalars(value: object) -> dict[str, Any]:
    """Read a value as each of the kinds of scalar, and return those that are something."""
    read = Tree.read({"value": value})
    names = ("text", "integer", "number", "flag", "moment", "status")
    found = {name: getattr(read, name) for name in names}
    return {name: value for name, value in found.items() if value is not None}


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("a", {"text": "a", "status": "a"}),
        ("", {"text": "", "status": ""}),
        ("Passed", {"text": "Passed", "status": ArtifactStatus.PASSED}),
        (7, {"text": "7", "integer": 7, "number": 7}),
        (0, {"text": "0", "integer": 0, "number": 0}),
        (10**400, {"text": str(10**400), "integer": 10**400}),
        (1.5, {"number": 1.5}),
        (float("inf"), {}),
        (True, {"flag": True}),
        (False, {"flag": False}),
        (None, {}),
        (["a"], {}),
        ({"a": 1}, {}),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_read__value_of_another_type_is_none(value, found):
    assert scalars(value) == found
    assert {name: type(value) for name, value in scalars(value).items()} == {
        name: ArtifactStatus if name == "status" else type(value) for name, value in found.items()
    }


@pytest.mark.parametrize("value", [{}, None, 7, "text", ["text"]], ids=repr)
def test_read__missing_key_is_none_or_empty(value):
    read = Tree.read(value)
    assert read == Tree()
    assert (read.text, read.leaf, read.same, read.leaves) == (None, Leaf(), Leaf(), ())


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ({"name": "N", "title": "T", "key": "K"}, "N"),
        ({"name": None, "title": 7, "key": "K"}, "7"),
        ({"name": [], "key": "K"}, "K"),
        ({"name": ""}, ""),
    ],
)
def test_read__first_key_that_holds_what_was_promised(raw, name):
    assert Leaf.read(raw).name == name


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        ("2022-12-18T23:12:04.076Z", CREATED_AT),
        ("2022-12-18T23:12:04.076", CREATED_AT),
        ("2022-12-19T01:12:04.076+02:00", CREATED_AT.astimezone(timezone(timedelta(hours=2)))),
        ("yesterday", None),
        ("2022-13-45T00:00:00Z", None),
        ("0001-01-01T00:00:00+23:00", None),
        ("\ud83d", None),
        ("", None),
        (1671405124076, None),
    ],
)
def test_read__moment_is_aware_and_in_utc(value, moment):
    read = Tree.read({"value": value}).moment
    assert read == moment  # a moment without a zone would equal no aware one
    assert getattr(read, "tzinfo", UTC) is UTC


def test_read__moment_without_a_zone_is_none_of_this_machine(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        read = Tree.read({"value": "2022-12-18T23:12:04.076"}).moment
    time.tzset()
    assert read == CREATED_AT


@pytest.mark.parametrize("value", [None, "text", 7, {"a": {}}, [None, "text", 7, [{}]]], ids=repr)
def test_read__whatever_is_no_object_left_out_of_a_list(value):
    assert Tree.read({"value": value}).leaves == ()


def test_read__objects_of_a_list_in_their_order():
    leaves = Tree.read({"value": [{"name": "a"}, None, {}, {"name": "b"}]}).leaves
    assert leaves == (Leaf(name="a"), Leaf(), Leaf(name="b"))
    assert [leaf.raw for leaf in leaves] == [{"name": "a"}, {}, {"name": "b"}]


def test_listed__is_a_sequence_like_the_tuple_of_its_records():
    leaves = Tree.read({"value": [{"name": "a"}, 7, {"name": "b"}, {"name": "c"}]}).leaves
    a, b, c = (Leaf(name=name) for name in "abc")
    assert (len(leaves), leaves[1], leaves[-1], list(reversed(leaves))) == (3, b, c, [c, b, a])
    assert (leaves[1:], leaves[:0], leaves.index(c), b in leaves) == ((b, c), (), 2, True)
    with pytest.raises(IndexError):
        leaves[3]
    assert leaves != (a, b)
    assert leaves != (a, b, a)
    assert leaves != [a, b, c]
    assert copy.deepcopy(leaves) == pickle.loads(pickle.dumps(leaves)) == leaves  # noqa: S301
    assert (hash(leaves), repr(leaves)) == (hash((a, b, c)), repr((a, b, c)))
    assert (a, b, c) == leaves
    assert leaves == (a, b, c)


def test_records__are_read_when_they_are_asked_for():
    read: list[object] = []

    def read_leaf(value: object) -> Leaf:
        read.append(value)
        return Leaf.read(value)

    leaves = Records(read_leaf, [{"name": "a"}, 7, {"name": "b"}])
    assert (len(leaves), read) == (2, [])
    assert leaves[1] == Leaf(name="b")
    assert read == [{"name": "b"}]


def test_read__object_itself_as_another_kind():
    raw = {"name": "a", "value": {"name": "b"}}
    read = Tree.read(raw)
    assert (read.same, read.leaf) == (Leaf(name="a"), Leaf(name="b"))
    assert read.same.raw is read.raw is raw


def test_raw__keeps_what_no_field_is_declared_for():
    raw = {"name": "a", "unheard": [1]}
    assert Leaf.read(raw).raw is raw


def test_raw__is_neither_shown_nor_compared():
    read, made = Leaf.read({"name": "a", "unheard": 1}), Leaf(name="a")
    assert read == made
    assert hash(read) == hash(made)
    assert repr(read).endswith("Leaf(name='a')")


@pytest.mark.parametrize(
    ("read", "is_something"),
    [
        (Leaf(), False),
        (Leaf.read({}), False),
        (Leaf.read(None), False),
        (Leaf(name="a"), True),
        (Leaf(name=""), True),
        (Leaf.read({"unheard": 1}), True),
        (Tree().leaf, False),
        (Tree(leaves=(Leaf(),)), True),
        (Artifact(score=0), True),
        (Bundle(artifact=Artifact(id=1)), True),
        (Bundle(), False),
    ],
    ids=repr,
)
def test_record__is_false_where_nothing_was_sent(read, is_something):
    assert bool(read) is is_something


@pytest.mark.parametrize(
    "put",
    [
        lambda raw: raw.__setitem__("a", 1),
        lambda raw: raw.setdefault("a", 1),
        lambda raw: raw.update(a=1),
        lambda raw: raw.__ior__({"a": 1}),
    ],
)
def test_raw__of_what_is_missing_is_shared_and_stays_empty(put):
    with pytest.raises(TypeError, match="was not sent"):
        put(Tree().leaf.raw)
    assert Tree().leaf.raw == {}


def test_raw__of_what_is_missing_is_an_empty_object_everywhere():
    raw = Tree().leaf.raw
    assert json.dumps(raw) == "{}"
    assert copy.deepcopy(raw) == pickle.loads(pickle.dumps(raw)) == {} == raw  # noqa: S301


def test_keys_of__newest_first():
    assert keys_of(Leaf) == {"name": ("name", "title", "key")}
    assert keys_of(Artifact)["build_link"] == ("buildLink", "buildKey")
    assert keys_of(Artifact)["commit_hash"] == ("hash",)
    assert keys_of(Bundle) == {"artifact": (), "baseline": ("baseline",)}


def test_one_of__is_an_enumeration_of_text():
    assert issubclass(ArtifactStatus, StrEnum)


def test_record__reads_a_field_without_keys_as_its_default():
    @dataclass(frozen=True, slots=True, kw_only=True)
    class Noted(Record):
        name: str | None = record.text("name")
        notes: list[str] = field(default_factory=list)
        is_new: bool = True

    read = Noted.read({"name": "web", "notes": ["x"], "is_new": False})
    assert (read.name, read.notes, read.is_new) == ("web", [], True)
    assert read.notes is read.notes is not Noted.read({}).notes

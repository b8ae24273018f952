from __future__ import annotations

import copy
import gc
import json
import pickle

import pytest
from hypothesis import given

from perfsee_webhooks.payloads import (
    ArtifactStatus,
    OpenEnumeration,
    RepositoryHost,
    SnapshotStatus,
    SnapshotTrigger,
)

from .strategies import TEXT

# As in Perfsee's GraphQL schema.
VALUES: dict[type[OpenEnumeration], set[str]] = {
    ArtifactStatus: {"Pending", "Running", "Passed", "Failed"},
    SnapshotStatus: {
        "Pending",
        "Running",
        "Completed",
        "Scheduled",
        "Failed",
        "PartialCompleted",
    },
    SnapshotTrigger: {"Api", "Scheduler"},
    RepositoryHost: {"Unknown", "Github", "Gitlab"},
}


@pytest.mark.parametrize("enumeration", VALUES)
def test_enumerations__know_what_the_schema_has(enumeration):
    assert {member.value for member in enumeration} == VALUES[enumeration]
    for value in VALUES[enumeration]:
        member = enumeration.read(value)
        assert member is enumeration(value)
        assert member.is_known


@given(value=TEXT)
def test_enumeration__keeps_what_it_does_not_know(value):
    status = ArtifactStatus(value + "?")
    assert isinstance(status, ArtifactStatus)
    assert not status.is_known
    assert status == status.value == status.name == value + "?"
    assert ArtifactStatus(value + "?") == status
    assert hash(status) == hash(status.value)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        if protocol >= 2:  # older ones cannot write a lone surrogate
            assert pickle.loads(pickle.dumps(status, protocol)) == status  # noqa: S301
    assert copy.copy(status) == copy.deepcopy(status) == status
    assert type(copy.deepcopy(status)) is ArtifactStatus
    assert json.loads(json.dumps(status)) == status


def test_enumeration__round_trip_of_a_known_one_is_the_member_itself():
    status = ArtifactStatus.PASSED
    assert pickle.loads(pickle.dumps(status)) is copy.deepcopy(status) is status  # noqa: S301
    assert (str(status), f"{status}", json.dumps(status)) == ("Passed", "Passed", '"Passed"')


def test_enumeration__name_of_a_member_is_no_value_of_it():
    status = ArtifactStatus("PASSED")
    assert not status.is_known
    assert status != ArtifactStatus.PASSED


def test_enumeration__unknown_ones_are_not_remembered():
    before = len(gc.get_objects())
    for number in range(10_000):
        ArtifactStatus(f"unheard {number}")
    assert len(gc.get_objects()) - before < 1_000
    assert len(ArtifactStatus) == 4
    assert "unheard 1" not in ArtifactStatus._value2member_map_


@pytest.mark.parametrize("value", [None, 7, True, 1.5, ["Passed"], {"Passed": 1}], ids=repr)
def test_enumeration__value_that_is_no_text(value):
    assert ArtifactStatus.read(value) is None
    with pytest.raises(ValueError, match="is not a valid ArtifactStatus"):
        ArtifactStatus(value)

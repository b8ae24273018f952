"""Perfsee's enumerations, which take in what a later Perfsee adds to them."""

from __future__ import annotations

from enum import StrEnum
from typing import Self


class OpenEnumeration(StrEnum):
    """An enumeration of text that keeps a value which it does not know.

    An unknown value is a member like any other: equal to its text, and of its class. It is not
    remembered, so that what is sent takes no memory that lasts; compare it with `==`.
    """

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, str):
            return None
        unknown = str.__new__(cls, value)
        unknown._name_ = unknown._value_ = value
        return unknown

    def __reduce_ex__(self, protocol: object) -> tuple[type[Self], tuple[str]]:
        return type(self), (self.value,)

    @classmethod
    def read(cls, value: object) -> Self | None:
        """Return the member for a value of a payload, None if it is no text."""
        return cls(value) if isinstance(value, str) else None

    @property
    def is_known(self) -> bool:
        """Whether this version of the app knows the value."""
        return any(self is member for member in type(self))


class ArtifactStatus(OpenEnumeration):
    """How far the analysis of a bundle is: `BundleJobStatus` in Perfsee's GraphQL schema."""

    PENDING = "Pending"
    """It waits for a runner."""
    RUNNING = "Running"
    """A runner is at it."""
    PASSED = "Passed"
    """It is finished: score and report are there."""
    FAILED = "Failed"
    """It could not be finished: the failed reason says why."""


class SnapshotStatus(OpenEnumeration):
    """How far a snapshot or a report is: `SnapshotStatus` in Perfsee's GraphQL schema."""

    PENDING = "Pending"
    """It waits for a runner."""
    RUNNING = "Running"
    """A runner is at it."""
    COMPLETED = "Completed"
    """It is finished."""
    SCHEDULED = "Scheduled"
    """It was made, and waits for its turn."""
    FAILED = "Failed"
    """It could not be finished: the failed reason says why."""
    PARTIAL_COMPLETED = "PartialCompleted"
    """Some of the reports of the snapshot are finished, others failed."""


class SnapshotTrigger(OpenEnumeration):
    """What started a snapshot: `SnapshotTrigger` in Perfsee's GraphQL schema."""

    API = "Api"
    """A person or a program asked for it."""
    SCHEDULER = "Scheduler"
    """The project's timer did."""


class RepositoryHost(OpenEnumeration):
    """Where a repository lives: `GitHost` in Perfsee's GraphQL schema."""

    UNKNOWN = "Unknown"
    """Somewhere else."""
    GITHUB = "Github"
    """On GitHub."""
    GITLAB = "Gitlab"
    """On a GitLab."""

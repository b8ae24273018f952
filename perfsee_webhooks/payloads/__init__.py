"""Typed, tolerant views of what Perfsee's four events carry.

Perfsee's `data` is a GraphQL answer in which any object can be null, and older senders write
other keys. So nothing here raises: an object that is missing is an empty one, whose fields are
None, and a value of another type than promised is None. `raw` always holds what was really sent.
The objects of a list are read when they are asked for, so that a long one costs nobody else time.
Fields are documented in Perfsee's page "Webhook Setting" and its GraphQL schema.
"""

from __future__ import annotations

from .bundle import Artifact, Bundle
from .enumerations import (
    ArtifactStatus,
    OpenEnumeration,
    RepositoryHost,
    SnapshotStatus,
    SnapshotTrigger,
)
from .event import (
    BundleFinished,
    Event,
    LabSnapshotCompleted,
    LabSnapshotReportCompleted,
    SourceFinished,
    read_event,
)
from .lab import Environment, Page, Profile, Snapshot, SnapshotReference, SnapshotReport
from .project import Project
from .record import Record, keys_of
from .values import Raw

__all__ = [
    "Artifact",
    "ArtifactStatus",
    "Bundle",
    "BundleFinished",
    "Environment",
    "Event",
    "LabSnapshotCompleted",
    "LabSnapshotReportCompleted",
    "OpenEnumeration",
    "Page",
    "Profile",
    "Project",
    "Raw",
    "Record",
    "RepositoryHost",
    "Snapshot",
    "SnapshotReference",
    "SnapshotReport",
    "SnapshotStatus",
    "SnapshotTrigger",
    "SourceFinished",
    "keys_of",
    "read_event",
]

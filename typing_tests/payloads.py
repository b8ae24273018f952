"""The types of what an event carries."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import assert_never, assert_type

from perfsee_webhooks.models import Delivery
from perfsee_webhooks.payloads import (
    Artifact,
    ArtifactStatus,
    Bundle,
    BundleFinished,
    Event,
    LabSnapshotCompleted,
    LabSnapshotReportCompleted,
    Raw,
    RepositoryHost,
    Snapshot,
    SnapshotReference,
    SnapshotReport,
    SnapshotStatus,
    SnapshotTrigger,
    SourceFinished,
    read_event,
)


def any_event(event: Event) -> None:
    """What is there on each event, whichever it is."""
    assert_type(event.type, str)
    assert_type(event.project.slug, str | None)
    assert_type(event.project.host, RepositoryHost | None)
    assert_type(event.project.is_public, bool | None)
    assert_type(event.raw, Raw)
    assert_type(event.variables, Raw)
    assert_type(event.project_slug, str | None)
    assert_type(event.page_path, str)
    assert_type(event.perfsee_url, str | None)
    assert_type(event.bundle, Bundle | None)
    assert_type(event.snapshot, Snapshot | None)
    assert_type(event.snapshot_report, SnapshotReport | None)
    _ = event.bundle.artifact  # type: ignore[union-attr]  # refused: it may be another event
    if event.bundle:
        assert_type(event.bundle.artifact, Artifact)


def bundle_finished(event: BundleFinished) -> None:
    """What is never None on a finished bundle."""
    assert_type(event.bundle, Bundle)
    assert_type(event.bundle.artifact.score, float | None)
    assert_type(event.bundle.artifact.status, ArtifactStatus | None)
    assert_type(event.bundle.artifact.created_at, datetime | None)
    assert_type(event.bundle.baseline.score, float | None)
    assert_type(event.snapshot, Snapshot | None)
    _ = event.bundle.artifact.score + 1  # type: ignore[operator]  # refused: it may be None
    _ = event.artifact  # type: ignore[attr-defined]  # refused: it is the bundle's


def lab(
    completed: LabSnapshotCompleted, report: LabSnapshotReportCompleted, source: SourceFinished
) -> None:
    """What is never None on the events of the lab and the source."""
    assert_type(completed.snapshot.reports, Sequence[SnapshotReport])
    assert_type(completed.snapshot.trigger, SnapshotTrigger | None)
    assert_type(report.snapshot_report.page.url, str | None)
    assert_type(report.snapshot_report.profile.name, str | None)
    assert_type(report.snapshot_report.status, SnapshotStatus | None)
    assert_type(report.snapshot_report.snapshot, SnapshotReference)
    assert_type(source.snapshot_report, SnapshotReport)
    assert_type(source.snapshot_report.artifacts, Sequence[Artifact])


def narrowed_by_match(event: Event) -> None:
    """A case for a class narrows the event."""
    match event:
        case BundleFinished(bundle=bundle):
            assert_type(event, BundleFinished)
            assert_type(bundle, Bundle)
        case LabSnapshotCompleted():
            assert_type(event.snapshot, Snapshot)
        case LabSnapshotReportCompleted() | SourceFinished():
            assert_type(event.snapshot_report, SnapshotReport)
        case _:
            assert_type(event, Event)


def narrowed_by_isinstance(delivery: Delivery) -> None:
    """So does isinstance, for the event of a delivery."""
    event = delivery.event
    assert_type(event, Event)
    assert_type(read_event({}), Event)
    if isinstance(event, LabSnapshotReportCompleted | SourceFinished):
        assert_type(event.snapshot_report, SnapshotReport)


def known_statuses(status: ArtifactStatus) -> str:
    """A match over the members is complete, for those that this version knows."""
    match status:
        case ArtifactStatus.PENDING | ArtifactStatus.RUNNING:
            return "under way"
        case ArtifactStatus.PASSED | ArtifactStatus.FAILED:
            return "finished"
        case _:
            assert_never(status)


def frozen(artifact: Artifact) -> None:
    """Nothing of an event can be changed, and it is made by keyword only."""
    artifact.score = 41  # type: ignore[misc]  # refused: it is frozen
    artifact.raw["score"] = 41  # type: ignore[index]  # refused: a mapping to be read
    Artifact(score=41)
    Artifact({})  # type: ignore[call-arg]  # refused: by keyword only
    Artifact(score="41")  # type: ignore[arg-type]  # refused: it is a number

"""One line that tells a person what a delivery is about, without opening it."""

from __future__ import annotations

import re
from typing import Final

from .payloads import (
    Artifact,
    BundleFinished,
    Event,
    LabSnapshotCompleted,
    LabSnapshotReportCompleted,
    Snapshot,
    SnapshotReport,
    SnapshotStatus,
    SourceFinished,
    values,
)
from .text import one_line

MAX_LENGTH: Final = 200
_MAX_REASON_LENGTH: Final = 80
_NAMELESS: Final = "?"


def summary_of(event: Event) -> str:
    """Return for instance `main @ feat/webhook passed, score 57`, empty for an unknown event."""
    match event:
        case BundleFinished():
            line = _of_artifact(event.bundle.artifact)
        case LabSnapshotCompleted():
            line = _of_snapshot(event.snapshot)
        case LabSnapshotReportCompleted():
            line = _of_report(event.snapshot_report)
        case SourceFinished():
            line = "source of " + _of_report(event.snapshot_report)
        case _:
            line = ""
    return one_line(line, MAX_LENGTH)


def subject_of(event: Event) -> str:
    """Return what a delivery and its next one are both about, such as `main @ feat/webhook`.

    Together with event type and project it finds the previous delivery to compare with. It is
    empty for an unknown event.
    """
    match event:
        case BundleFinished():
            subject = _built(event.bundle.artifact)
        case LabSnapshotCompleted():
            subject = "snapshot"
        case LabSnapshotReportCompleted() | SourceFinished():
            report = event.snapshot_report
            subject = f"{_measured(report)} in {report.environment.name or _NAMELESS}"
        case _:
            subject = ""
    return one_line(subject, MAX_LENGTH)


def _of_artifact(artifact: Artifact) -> str:
    score = "" if artifact.score is None else f", score {artifact.score}"
    return f"{_built(artifact)} {_words(artifact.status)}{score}{_because(artifact.failed_reason)}"


def _of_snapshot(snapshot: Snapshot) -> str:
    # As they were sent: a body has room for a million, and to read each takes seconds.
    reports = values.objects(snapshot.raw.get("snapshotReports"))
    failed = [report.get("status") for report in reports].count(SnapshotStatus.FAILED)
    counted = f"{len(reports)} report{'' if len(reports) == 1 else 's'}"
    return (
        f"{snapshot.title or f'snapshot {snapshot.id or _NAMELESS}'} {_words(snapshot.status)}, "
        f"{counted}{f', {failed} failed' if failed else ''}{_because(snapshot.failed_reason)}"
    )


def _of_report(report: SnapshotReport) -> str:
    return f"{_measured(report)} {_words(report.status)}{_because(report.failed_reason)}"


def _built(artifact: Artifact) -> str:
    return f"{artifact.name or _NAMELESS} @ {artifact.branch or _NAMELESS}"


def _measured(report: SnapshotReport) -> str:
    measured = report.page.name or report.page.url or _NAMELESS
    return measured + (f" on {report.profile.name}" if report.profile.name else "")


def _words(status: str | None) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", status or "finished").lower()


def _because(reason: str | None) -> str:
    return f": {one_line(reason, _MAX_REASON_LENGTH)}" if reason else ""

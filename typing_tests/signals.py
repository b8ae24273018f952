"""Which receivers a signal takes: those of its own event, of any event, and without annotations."""

from __future__ import annotations

from typing import Any, assert_type

from django.dispatch import receiver

from perfsee_webhooks.models import Delivery
from perfsee_webhooks.payloads import (
    BundleFinished,
    Event,
    LabSnapshotCompleted,
    LabSnapshotReportCompleted,
    SourceFinished,
)
from perfsee_webhooks.signals import (
    EventSignal,
    bundle_finished,
    delivery_received,
    lab_snapshot_completed,
    lab_snapshot_report_completed,
    receive,
    source_finished,
)

assert_type(bundle_finished, EventSignal[BundleFinished])
assert_type(lab_snapshot_completed, EventSignal[LabSnapshotCompleted])
assert_type(lab_snapshot_report_completed, EventSignal[LabSnapshotReportCompleted])
assert_type(source_finished, EventSignal[SourceFinished])
assert_type(delivery_received, EventSignal[Event])


# Its own event, by signal and by name; the receiver keeps its type.


@receive(bundle_finished)
@receive("bundle:finished")
@receiver(bundle_finished)
def of_bundle(
    sender: type[Delivery], delivery: Delivery, event: BundleFinished, **kwargs: Any
) -> None:
    """Take a finished bundle."""
    assert_type(event.bundle.artifact.score, float | None)


of_bundle(Delivery, Delivery(), BundleFinished())
of_bundle(Delivery, Delivery(), Event())  # type: ignore[arg-type]  # refused: no bundle


@receive(lab_snapshot_completed)
@receive("lab:snapshot-completed")
async def of_snapshot(
    sender: type[Delivery], delivery: Delivery, event: LabSnapshotCompleted, **kwargs: Any
) -> None:
    """Take a completed snapshot."""


@receive(lab_snapshot_report_completed)
@receive("lab:snapshot-report-completed", dispatch_uid="report")
def of_report(event: LabSnapshotReportCompleted, **kwargs: Any) -> int:
    """Take a completed report, and nothing else by name."""
    return 1


@receive(source_finished, weak=False)
@receive("source:finished")
def of_source(
    sender: type[Delivery], delivery: Delivery, event: SourceFinished, **kwargs: Any
) -> None:
    """Take a finished source analysis."""


@receive(lab_snapshot_report_completed)
@receive(source_finished)
def of_two(event: LabSnapshotReportCompleted | SourceFinished, **kwargs: Any) -> None:
    """Take the two events that are about a report."""


# Any event, on whatever it is connected to.


@receive(bundle_finished)
@receive(lab_snapshot_completed)
@receive(lab_snapshot_report_completed)
@receive(source_finished)
@receive(delivery_received)
@receive("bundle:finished")
@receive("bundle:*,lab:*")
def of_any(sender: type[Delivery], delivery: Delivery, event: Event, **kwargs: Any) -> None:
    """Take any event."""


@receive(bundle_finished)
@receive("source:finished")
@receive("bundle:*,lab:*")
def unannotated(sender, delivery, event, **kwargs):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN003, ANN201  # as in the README
    """Take what comes."""


# Another event than the signal's.


def of_bundle_only(event: BundleFinished, **kwargs: Any) -> None:
    """Take a finished bundle."""


async def of_report_only(event: LabSnapshotReportCompleted, **kwargs: Any) -> None:
    """Take a completed report."""


def of_no_more(sender: type[Delivery], delivery: Delivery, event: BundleFinished) -> None:
    """Take no other keywords."""


class Handler:
    """A method is a receiver too."""

    def of_source(self, event: SourceFinished, **kwargs: Any) -> None:
        """Take a finished source analysis."""


receive(bundle_finished)(of_bundle_only)
receive(lab_snapshot_completed)(of_bundle_only)  # type: ignore[type-var]  # refused: no bundle
receive(source_finished)(of_bundle_only)  # type: ignore[type-var]  # refused: no bundle
receive(delivery_received)(of_bundle_only)  # type: ignore[type-var]  # refused: sent for others too
receive("bundle:finished")(of_bundle_only)
receive("source:finished")(of_bundle_only)  # type: ignore[type-var]  # refused: no bundle
receive("bundle:*,lab:*")(of_bundle_only)  # type: ignore[type-var]  # refused: matches others too
receive(bundle_finished)(of_report_only)  # type: ignore[type-var]  # refused: no report
receive("bundle:finished")(of_report_only)  # type: ignore[type-var]  # refused: no report
receive("lab:snapshot-completed")(of_report_only)  # type: ignore[type-var]  # refused: a snapshot
receive(source_finished)(of_report_only)  # type: ignore[type-var]  # refused: of the source
receive(bundle_finished)(of_no_more)  # type: ignore[type-var]  # refused: more keywords may come

source_finished.connect(Handler().of_source)
source_finished.connect(of_any)
bundle_finished.connect(of_bundle, sender=Delivery, weak=False, dispatch_uid="bundle")
bundle_finished.connect(Handler().of_source)  # type: ignore[arg-type]  # refused: another event
delivery_received.connect(of_bundle)  # type: ignore[arg-type]  # refused: sent for others too

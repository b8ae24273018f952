"""What the lab's events are about: rounds of measurements of pages, and their reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from .bundle import Artifact
from .enumerations import SnapshotStatus, SnapshotTrigger
from .record import Record, flag, integer, listed, moment, nested, one_of, text

# "Webhook Setting" shows no event of the lab: the GraphQL schema is what documents them.


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Record):
    """A page that the lab measures."""

    id: int | None = integer("id")
    """The page's number within its project. Source: `Page.id` in the GraphQL schema."""

    name: str | None = text("name")
    """The page's name in Perfsee. Source: `Page.name` in the GraphQL schema."""

    url: str | None = text("url")
    """The address that is measured. Source: `Page.url` in the GraphQL schema."""

    is_e2e: bool | None = flag("isE2e")
    """Whether a script drives the page, from end to end. Source: `Page.isE2e` in the schema."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile(Record):
    """The device and the network that are simulated."""

    id: int | None = integer("id")
    """The profile's number within its project. Source: `Profile.id` in the GraphQL schema."""

    name: str | None = text("name")
    """The profile's name in Perfsee. Source: `Profile.name` in the GraphQL schema."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment(Record):
    """The place, headers and cookies that a page is opened with."""

    id: int | None = integer("id")
    """The environment's number within its project. Source: `Environment.id` in the schema."""

    name: str | None = text("name")
    """The environment's name in Perfsee. Source: `Environment.name` in the GraphQL schema."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotReference(Record):
    """The snapshot that a report belongs to, without its other reports."""

    id: int | None = integer("id")
    """The snapshot's number within its project. Source: `Snapshot.id` in the GraphQL schema."""

    title: str | None = text("title")
    """The title: free text that may hold anything. Source: `Snapshot.title` in the schema."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotReport(Record):
    """One measurement of one page with one profile in one environment."""

    id: int | None = integer("id")
    """The report's number within its project.

    Source: `SnapshotReport.id` in the GraphQL schema.
    """

    status: SnapshotStatus | None = one_of(SnapshotStatus, "status")
    """How far the measurement is.

    Source: `SnapshotReport.status` in the GraphQL schema.
    """

    failed_reason: str | None = text("failedReason")
    """Why the measurement failed: free text that may hold anything, None if it did not.

    Source: `SnapshotReport.failedReason` in the GraphQL schema.
    """

    page: Page = nested(Page, "page")
    """The page that was measured.

    Source: `SnapshotReport.page` in the GraphQL schema.
    """

    profile: Profile = nested(Profile, "profile")
    """The device and the network that were simulated.

    Source: `SnapshotReport.profile` in the GraphQL schema.
    """

    environment: Environment = nested(Environment, "environment")
    """The place, headers and cookies that the page was opened with.

    Source: `SnapshotReport.environment` in the GraphQL schema.
    """

    host: str | None = text("host")
    """The host that was measured in place of the page's own, for jobs that name one.

    Source: `SnapshotReport.host` in the GraphQL schema.
    """

    report_link: str | None = text("reportLink", "lighthouseStorageKey", "reportKey")
    """The Lighthouse result as JSON: an address, from older senders a key in Perfsee's storage.

    Source: `SnapshotReport.reportLink` in the GraphQL schema.
    """

    screencast_link: str | None = text("screencastLink", "screencastStorageKey")
    """The film of the page as it loads: an address, from older senders a key in the storage.

    Source: `SnapshotReport.screencastLink` in the GraphQL schema.
    """

    flame_chart_link: str | None = text("flameChartLink", "flameChartStorageKey")
    """The flame chart as JSON: an address, from older senders a key in Perfsee's storage.

    Source: `SnapshotReport.flameChartLink` in the GraphQL schema.
    """

    source_coverage_link: str | None = text("sourceCoverageLink", "sourceCoverageStorageKey")
    """Which code was run, as JSON: an address, from older senders a key in the storage.

    Source: `SnapshotReport.sourceCoverageLink` in the GraphQL schema.
    """

    created_at: datetime | None = moment("createdAt")
    """When Perfsee created the report, in UTC.

    Source: `SnapshotReport.createdAt` in the GraphQL schema.
    """

    snapshot: SnapshotReference = nested(SnapshotReference, "snapshot")
    """The snapshot that the report belongs to.

    Source: `SnapshotReport.snapshot` in the GraphQL schema.
    """

    artifacts: Sequence[Artifact] = listed(Artifact, "artifacts")
    """The bundles that were deployed on the page when it was measured.

    Source: `SnapshotReport.artifacts` in the GraphQL schema.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot(Record):
    """One round of measurements of a project's pages."""

    id: int | None = integer("id")
    """The snapshot's number within its project. Source: `Snapshot.id` in the GraphQL schema."""

    title: str | None = text("title")
    """The title: free text that may hold anything. Source: `Snapshot.title` in the schema."""

    trigger: SnapshotTrigger | None = one_of(SnapshotTrigger, "trigger")
    """What started it. Source: `Snapshot.trigger` in the GraphQL schema."""

    status: SnapshotStatus | None = one_of(SnapshotStatus, "status")
    """How far the round is. Source: `Snapshot.status` in the GraphQL schema."""

    failed_reason: str | None = text("failedReason")
    """Why the round failed: free text that may hold anything, None if it did not.

    Source: `Snapshot.failedReason` in the GraphQL schema.
    """

    commit_hash: str | None = text("hash")
    """The full hash of the git commit that it was started for, None if it was for none.

    Source: `Snapshot.hash` in the GraphQL schema.
    """

    created_at: datetime | None = moment("createdAt")
    """When it was asked for, in UTC. Source: `Snapshot.createdAt` in the GraphQL schema."""

    started_at: datetime | None = moment("startedAt")
    """When its first report was begun, in UTC. Source: `Snapshot.startedAt` in the schema."""

    reports: Sequence[SnapshotReport] = listed(SnapshotReport, "snapshotReports")
    """A report for each page, profile and environment.

    Source: `Snapshot.snapshotReports` in the GraphQL schema.
    """

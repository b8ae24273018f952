"""Typed, tolerant views of what Perfsee's four events carry.

Perfsee's `data` is a GraphQL answer in which any object can be null, and older senders write
other keys. So nothing here raises: an object that is missing is an object whose fields are None,
and a value of another type than promised is None. `raw` always holds what was really sent.
Fields are documented in Perfsee's page "Webhook Setting" and its GraphQL schema.
"""

from __future__ import annotations

from datetime import datetime
from urllib.parse import quote

from . import events
from .records import Raw, Record


class Project(Record):
    """The Perfsee project that an event is about."""

    __slots__ = ()

    @property
    def slug(self) -> str | None:
        """The project's id in Perfsee's addresses."""
        return self.text("id")

    @property
    def namespace(self) -> str | None:
        """The owner of the repository on its host."""
        return self.text("namespace")

    @property
    def name(self) -> str | None:
        """The name of the repository on its host."""
        return self.text("name")

    @property
    def host(self) -> str | None:
        """Where the repository lives: `Github`, `Gitlab` or `Unknown`."""
        return self.text("host")


class Artifact(Record):
    """A bundle that was built and analysed."""

    __slots__ = ()

    @property
    def id(self) -> int | None:
        """The artifact's number within its project."""
        return self.integer("id")

    @property
    def name(self) -> str | None:
        """The artifact's name, which stays the same from build to build."""
        return self.text("name")

    @property
    def branch(self) -> str | None:
        """The branch that was built."""
        return self.text("branch")

    @property
    def commit_hash(self) -> str | None:
        """The full hash of the commit that was built (`hash` in the payload)."""
        return self.text("hash")

    @property
    def status(self) -> str | None:
        """`Pending`, `Running`, `Passed` or `Failed`."""
        return self.text("status")

    @property
    def failed_reason(self) -> str | None:
        """Why the analysis failed: free text that may hold anything."""
        return self.text("failedReason")

    @property
    def score(self) -> int | float | None:
        """The audit score, from 0 to 100."""
        return self.number("score")

    @property
    def duration(self) -> int | float | None:
        """How long the analysis took, in milliseconds."""
        return self.number("duration")

    @property
    def build_link(self) -> str | None:
        """The uploaded build: an address, from older senders a key in Perfsee's storage."""
        return self.text("buildLink", "buildKey")

    @property
    def report_link(self) -> str | None:
        """The analysis as JSON: an address, from older senders a key in Perfsee's storage."""
        return self.text("reportLink", "reportKey")

    @property
    def content_link(self) -> str | None:
        """The content of the bundle: an address, from older senders a key in Perfsee's storage."""
        return self.text("contentLink", "contentKey")

    @property
    def created_at(self) -> datetime | None:
        """When Perfsee created the artifact."""
        return self.moment("createdAt")

    @property
    def baseline(self) -> Artifact:
        """The artifact that Perfsee compares this one with; empty if there is none."""
        return Artifact.read(self.raw.get("baseline"))


class Page(Record):
    """A page that the lab measures."""

    __slots__ = ()

    @property
    def name(self) -> str | None:
        """The page's name in Perfsee."""
        return self.text("name")

    @property
    def url(self) -> str | None:
        """The address that was measured."""
        return self.text("url")


class SnapshotReport(Record):
    """One measurement of one page with one profile in one environment."""

    __slots__ = ()

    @property
    def id(self) -> int | None:
        """The report's number within its project."""
        return self.integer("id")

    @property
    def status(self) -> str | None:
        """`Pending`, `Running`, `Scheduled`, `Completed`, `PartialCompleted` or `Failed`."""
        return self.text("status")

    @property
    def failed_reason(self) -> str | None:
        """Why the measurement failed: free text that may hold anything."""
        return self.text("failedReason")

    @property
    def page(self) -> Page:
        """The page that was measured."""
        return Page.read(self.raw.get("page"))

    @property
    def profile(self) -> str | None:
        """The name of the device and network that were simulated."""
        return Record.read(self.raw.get("profile")).text("name")

    @property
    def environment(self) -> str | None:
        """The name of the set of headers and cookies that the page was opened with."""
        return Record.read(self.raw.get("environment")).text("name")

    @property
    def report_link(self) -> str | None:
        """The Lighthouse result as JSON."""
        return self.text("reportLink", "reportKey")

    @property
    def created_at(self) -> datetime | None:
        """When Perfsee created the report."""
        return self.moment("createdAt")

    @property
    def artifacts(self) -> list[Artifact]:
        """The bundles that were deployed on the page when it was measured."""
        return [Artifact.read(record.raw) for record in self.records("artifacts")]


class Snapshot(Record):
    """One round of measurements of a project's pages."""

    __slots__ = ()

    @property
    def id(self) -> int | None:
        """The snapshot's number within its project."""
        return self.integer("id")

    @property
    def title(self) -> str | None:
        """The title: free text that may hold anything."""
        return self.text("title")

    @property
    def status(self) -> str | None:
        """`Pending`, `Running`, `Scheduled`, `Completed`, `PartialCompleted` or `Failed`."""
        return self.text("status")

    @property
    def failed_reason(self) -> str | None:
        """Why the snapshot failed: free text that may hold anything."""
        return self.text("failedReason")

    @property
    def trigger(self) -> str | None:
        """What started it: `Api` or `Scheduler`."""
        return self.text("trigger")

    @property
    def commit_hash(self) -> str | None:
        """The commit that was measured, if it was started for one (`hash` in the payload)."""
        return self.text("hash")

    @property
    def reports(self) -> list[SnapshotReport]:
        """The reports of the snapshot."""
        return [SnapshotReport.read(record.raw) for record in self.records("snapshotReports")]


class Event(Record):
    """A whole body as it was sent, `{"eventType": …, "payload": {"data": …, "variables": …}}`."""

    __slots__ = ()

    @property
    def type(self) -> str:
        """The canonical name of the event, `"unknown"` for a body that names none."""
        name = self.raw.get("eventType")
        return events.canonical(name) if isinstance(name, str) and name else events.UNKNOWN

    @property
    def payload(self) -> Raw:
        """The raw payload: `data` and `variables`."""
        return Record.read(self.raw.get("payload")).raw

    @property
    def data(self) -> Raw:
        """The raw answer to Perfsee's GraphQL query."""
        return Record.read(self.payload.get("data")).raw

    @property
    def variables(self) -> Raw:
        """The raw variables of that query: what the event is about, even where `data` is null."""
        return Record.read(self.payload.get("variables")).raw

    @property
    def project(self) -> Project:
        """The project that the event is about."""
        return Project.read(self.data.get("project"))

    @property
    def project_slug(self) -> str | None:
        """The project's slug, from the variables of the query where the answer lacks it."""
        return self.project.slug or Record(self.variables).text("projectSlug", "projectId")

    @property
    def artifact(self) -> Artifact:
        """The bundle of a `bundle:finished`; empty on other events."""
        return Artifact.read(self.project.raw.get("artifact"))

    @property
    def snapshot(self) -> Snapshot:
        """The snapshot of a `lab:snapshot-completed`; empty on other events."""
        return Snapshot.read(self.project.raw.get("snapshot"))

    @property
    def snapshot_report(self) -> SnapshotReport:
        """The report of a `lab:snapshot-report-completed` or `source:finished`."""
        return SnapshotReport.read(self.project.raw.get("snapshotReport"))

    @property
    def page_path(self) -> str:
        """The path of the page about it on Perfsee's own site, empty without a project."""
        slug = self.project_slug
        if not slug:
            return ""
        asked_for = Record(self.variables)
        artifact = self.artifact.text("id") or asked_for.text("artifactIid", "artifactId")
        report = self.snapshot_report.text("id") or asked_for.text("snapshotReportIid")
        match self.type:
            case events.BUNDLE_FINISHED if artifact:
                page = f"bundle/{_quoted(artifact)}"
            case events.LAB_SNAPSHOT_REPORT_COMPLETED if report:
                page = f"lab/reports/{_quoted(report)}"
            case events.SOURCE_FINISHED:
                page = "source"
            case _:
                page = "home"
        return f"/projects/{_quoted(slug)}/{page}"


def _quoted(text: str) -> str:
    return quote(text, safe="", errors="replace")

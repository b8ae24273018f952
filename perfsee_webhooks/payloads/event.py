"""What a body says as a whole, as the class of its event."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import quote

from .. import events
from ..conf import webhook_settings
from . import values
from .bundle import Bundle
from .lab import Snapshot, SnapshotReport
from .project import Project
from .record import Record, nested
from .values import Raw


@dataclass(frozen=True, slots=True, kw_only=True)
class Event(Record):
    """A whole body, `{"eventType": …, "payload": {"data": …, "variables": …}}`.

    Each event that this version knows has a subclass of its own, in which what the event is about
    is never None. An event that it does not know is a plain `Event`.
    """

    type: str = events.UNKNOWN
    """The canonical name of the event, `"unknown"` for a body that names none.

    Source: `eventType` in "Webhook Setting".
    """

    project: Project = nested(Project)
    """The project that the event is about.

    Source: `payload.data.project` in "Webhook Setting".
    """

    bundle: Bundle | None = None
    """The bundle of a `bundle:finished`, None on other events.

    Source: `payload.data.project.artifact` in "Webhook Setting".
    """

    snapshot: Snapshot | None = None
    """The snapshot of a `lab:snapshot-completed`, None on other events.

    Source: `payload.data.project.snapshot` of the query that Perfsee makes for the event.
    """

    snapshot_report: SnapshotReport | None = None
    """The report of a `lab:snapshot-report-completed` or `source:finished`, None on other events.

    Source: `payload.data.project.snapshotReport` of the query that Perfsee makes for the event.
    """

    @classmethod
    def read(cls, value: object) -> Self:
        """Return the event of a parsed body; what it is about is read from its project."""
        raw = values.mapping(value)
        return cls._unread(raw=raw, type=_type_in(raw))

    @property
    def _declared_in(self) -> Raw:
        return values.mapping(self.data.get("project"))

    @property
    def payload(self) -> Raw:
        """The raw payload: `data` and `variables`."""
        return _payload_in(self.raw)

    @property
    def data(self) -> Raw:
        """The raw answer to Perfsee's GraphQL query."""
        return _data_in(self.raw)

    @property
    def variables(self) -> Raw:
        """The raw variables of that query: what the event is about, even where `data` is null."""
        return values.mapping(self.payload.get("variables"))

    @property
    def project_slug(self) -> str | None:
        """The project's slug, from the variables of the query where the answer lacks it."""
        return next(filter(None, self.named_projects), None)

    @property
    def named_projects(self) -> list[str]:
        """Each slug that the body names: in the answer, then in the variables of the query."""
        asked_for = (self.variables.get(key) for key in ("projectSlug", "projectId"))
        slugs = (self.project.slug, *map(values.text, asked_for))
        return [slug for slug in slugs if slug is not None]

    @property
    def page_path(self) -> str:
        """The path of the page about it on Perfsee's own site, empty without a project."""
        slug = self.project_slug
        return f"/projects/{_quoted(slug)}/{self._page}" if slug else ""

    @property
    def perfsee_url(self) -> str | None:
        """The address of that page, None unless the site has set `PERFSEE_URL`."""
        site, path = webhook_settings.perfsee_url, self.page_path
        return site + path if site and path else None

    @property
    def _page(self) -> str:
        return "home"


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleFinished(Event):
    """The analysis of a bundle is finished, passed or failed."""

    type: str = events.BUNDLE_FINISHED
    """`bundle:finished`. Source: `eventType` in "Webhook Setting"."""

    bundle: Bundle = nested(Bundle, "artifact")
    """The bundle that was analysed, with its baseline.

    Source: `payload.data.project.artifact` in "Webhook Setting".
    """

    @property
    def _page(self) -> str:
        number = values.first_text(self.bundle.raw, "id") or values.first_text(
            self.variables, "artifactIid", "artifactId"
        )
        return f"bundle/{_quoted(number)}" if number else "home"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabSnapshotCompleted(Event):
    """All reports of a lab snapshot are in."""

    type: str = events.LAB_SNAPSHOT_COMPLETED
    """`lab:snapshot-completed`. Source: `WebhookEventType` in Perfsee's source."""

    snapshot: Snapshot = nested(Snapshot, "snapshot")
    """The snapshot, with its reports.

    Source: `payload.data.project.snapshot` of the query that Perfsee makes for the event.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class LabSnapshotReportCompleted(Event):
    """One report of a lab snapshot is in."""

    type: str = events.LAB_SNAPSHOT_REPORT_COMPLETED
    """`lab:snapshot-report-completed`. Source: `WebhookEventType` in Perfsee's source."""

    snapshot_report: SnapshotReport = nested(SnapshotReport, "snapshotReport")
    """The report.

    Source: `payload.data.project.snapshotReport` of the query that Perfsee makes for the event.
    """

    @property
    def _page(self) -> str:
        number = values.first_text(self.snapshot_report.raw, "id") or values.first_text(
            self.variables, "snapshotReportIid"
        )
        return f"lab/reports/{_quoted(number)}" if number else "home"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFinished(Event):
    """The source analysis of a lab report is finished."""

    type: str = events.SOURCE_FINISHED
    """`source:finished`. Source: `WebhookEventType` in Perfsee's source."""

    snapshot_report: SnapshotReport = nested(SnapshotReport, "snapshotReport")
    """The report whose source was analysed.

    Source: `payload.data.project.snapshotReport` of the query that Perfsee makes for the event.
    """

    @property
    def _page(self) -> str:
        return "source"


_CLASSES: Final[dict[str, type[Event]]] = {
    events.BUNDLE_FINISHED: BundleFinished,
    events.LAB_SNAPSHOT_COMPLETED: LabSnapshotCompleted,
    events.LAB_SNAPSHOT_REPORT_COMPLETED: LabSnapshotReportCompleted,
    events.SOURCE_FINISHED: SourceFinished,
}


def read_event(value: object) -> Event:
    """Return the event of a parsed body, as the class of its `eventType`."""
    raw = values.mapping(value)
    return _CLASSES.get(_type_in(raw), Event).read(raw)


def _type_in(raw: Raw) -> str:
    name = raw.get("eventType")
    return events.canonical(name) if isinstance(name, str) and name else events.UNKNOWN


def _payload_in(raw: Raw) -> Raw:
    return values.mapping(raw.get("payload"))


def _data_in(raw: Raw) -> Raw:
    return values.mapping(_payload_in(raw).get("data"))


def _quoted(text: str) -> str:
    return quote(text, safe="", errors="replace")

from __future__ import annotations

import ast
import copy
import dataclasses
import json
import pickle
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given

from perfsee_webhooks import events, payloads
from perfsee_webhooks.payloads import (
    Artifact,
    ArtifactStatus,
    Bundle,
    BundleFinished,
    Environment,
    Event,
    LabSnapshotCompleted,
    LabSnapshotReportCompleted,
    Page,
    Profile,
    Project,
    Record,
    RepositoryHost,
    Snapshot,
    SnapshotReference,
    SnapshotReport,
    SnapshotStatus,
    SnapshotTrigger,
    SourceFinished,
    keys_of,
    read_event,
)
from perfsee_webhooks.samples import sample_body

from .strategies import ANY_JSON, EVENTS_OF_ANY_TYPES

# The body of Perfsee's page "Webhook Setting", section "POST Example".
PAGE_EXAMPLE = """
{
  "eventType": "bundle:finished",
  "payload": {
    "data": {
      "project": {
        "id": "anything",
        "host": "Github",
        "namespace": "perfsee",
        "name": "perfsee",
        "isPublic": false,
        "artifact": {
          "id": 65,
          "branch": "feat/webhook",
          "name": "main",
          "hash": "50fae89df58f7e61431268470df5edebad4ba902",
          "status": "Passed",
          "duration": 5433,
          "failedReason": null,
          "buildKey": "builds/1/ad38f6ba-80a0-4d67-869b-8edbbfde0d81.tar",
          "reportKey": "artifacts/1/bundle-results/89540a83-d862-4652-bd8b-3fe338c3eb4e.json",
          "contentKey": "artifacts/1/bundle-content/4a5cbd9a-e04a-4b7f-a76d-0572cae28cab.json",
          "score": 57,
          "createdAt": "2022-12-18T23:12:04.076Z"
        }
      }
    },
    "variables": {
      "projectId": "anything",
      "artifactId": 65
    }
  }
}
"""
CREATED_AT = datetime(2022, 12, 18, 23, 12, 4, 76000, tzinfo=UTC)
HASH = "50fae89df58f7e61431268470df5edebad4ba902"
LINKS = "https://perfsee.example/v1/artifacts/1"
CLASSES = {
    events.BUNDLE_FINISHED: BundleFinished,
    events.LAB_SNAPSHOT_COMPLETED: LabSnapshotCompleted,
    events.LAB_SNAPSHOT_REPORT_COMPLETED: LabSnapshotReportCompleted,
    events.SOURCE_FINISHED: SourceFinished,
}

PROJECT = Project(
    slug="perfsee",
    host=RepositoryHost.GITHUB,
    namespace="perfsee",
    name="perfsee",
    is_public=False,
)
ARTIFACT = Artifact(
    id=65,
    name="main",
    branch="feat/webhook",
    commit_hash=HASH,
    status=ArtifactStatus.PASSED,
    score=57,
    duration=5433,
    build_link=f"{LINKS}/build.tar",
    report_link=f"{LINKS}/bundle-results/89540a83.json",
    content_link=f"{LINKS}/bundle-content/4a5cbd9a.json",
    created_at=CREATED_AT,
)


def report(number: int) -> SnapshotReport:
    return SnapshotReport(
        id=number,
        status=SnapshotStatus.COMPLETED,
        report_link=f"{LINKS}/lab/{number}/lighthouse.json",
        screencast_link=f"{LINKS}/lab/{number}/screencast.mp4",
        flame_chart_link=f"{LINKS}/lab/{number}/flame.json",
        source_coverage_link=None,
        created_at=CREATED_AT,
        host=None,
        page=Page(id=3, name="Home", is_e2e=False, url="https://perfsee.example/home?a=1&b=2"),
        environment=Environment(id=1, name="Default"),
        profile=Profile(id=2, name="Mobile 4G"),
        failed_reason=None,
        snapshot=SnapshotReference(id=12, title="Nightly 中文 🚀"),
        artifacts=(Artifact(id=65, name="main", branch="feat/webhook", commit_hash=HASH),),
    )


OF_THE_SAMPLES: dict[str, Event] = {
    events.BUNDLE_FINISHED: BundleFinished(
        project=PROJECT,
        bundle=Bundle(
            artifact=ARTIFACT,
            baseline=dataclasses.replace(ARTIFACT, id=64, branch="main", score=60),
        ),
    ),
    events.LAB_SNAPSHOT_COMPLETED: LabSnapshotCompleted(
        project=PROJECT,
        snapshot=Snapshot(
            id=65,
            title="Nightly 中文 🚀",
            trigger=SnapshotTrigger.SCHEDULER,
            status=SnapshotStatus.PARTIAL_COMPLETED,
            failed_reason=None,
            commit_hash=None,
            created_at=datetime(2022, 12, 18, 23, 9, 59, tzinfo=UTC),
            started_at=datetime(2022, 12, 18, 23, 10, tzinfo=UTC),
            reports=(
                report(650),
                dataclasses.replace(
                    report(651),
                    status=SnapshotStatus.FAILED,
                    report_link=None,
                    failed_reason="\x1b[31mTimeout\x1b[0m",
                ),
            ),
        ),
    ),
    events.LAB_SNAPSHOT_REPORT_COMPLETED: LabSnapshotReportCompleted(
        project=PROJECT, snapshot_report=report(65)
    ),
    events.SOURCE_FINISHED: SourceFinished(project=PROJECT, snapshot_report=report(65)),
}


def sample(event_type: str) -> Event:
    return read_event(json.loads(sample_body(event_type)))


def event_with(event_type: str = "", **project: Any) -> Event:
    data = {"project": {"id": "web", **project}}
    return read_event({"eventType": event_type, "payload": {"data": data}})


def records_in(value: object) -> Iterator[Record]:
    """Yield a record and those in it."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        for item in value:
            yield from records_in(item)
    elif isinstance(value, Record):
        yield value
        for field in dataclasses.fields(value):
            yield from records_in(getattr(value, field.name))


def is_of(value: object, declared: Any) -> bool:
    if isinstance(declared, UnionType):
        return any(is_of(value, one) for one in get_args(declared))
    if get_origin(declared) is Sequence:
        return isinstance(value, Sequence) and all(
            is_of(item, get_args(declared)[0]) for item in value
        )
    if get_origin(declared) is not None:
        return isinstance(value, Mapping)
    if declared in {int, float}:
        return isinstance(value, int | declared) and not isinstance(value, bool)
    return value is None if declared is NoneType else isinstance(value, declared)


@pytest.mark.parametrize("event_type", events.KNOWN)
def test_read_event__samples(event_type):
    event = sample(event_type)
    assert event == OF_THE_SAMPLES[event_type]
    assert type(event) is CLASSES[event_type]
    assert event.raw == json.loads(sample_body(event_type))
    assert event.project_slug == "perfsee"


def test_read_event__each_key_of_the_samples_has_a_field():
    read_elsewhere = {"artifact", "snapshot", "snapshotReport", "baseline"}
    for event_type in events.KNOWN:
        for record in records_in(sample(event_type)):
            keys = {key for keys in keys_of(type(record)).values() for key in keys}
            if not isinstance(record, Event | Bundle):
                assert record.raw.keys() - keys - read_elsewhere == set()


def test_read_event__page_example():
    event = read_event(json.loads(PAGE_EXAMPLE))
    assert event == BundleFinished(
        project=dataclasses.replace(PROJECT, slug="anything"),
        bundle=Bundle(
            artifact=dataclasses.replace(
                ARTIFACT,
                build_link="builds/1/ad38f6ba-80a0-4d67-869b-8edbbfde0d81.tar",
                report_link=(
                    "artifacts/1/bundle-results/89540a83-d862-4652-bd8b-3fe338c3eb4e.json"
                ),
                content_link=(
                    "artifacts/1/bundle-content/4a5cbd9a-e04a-4b7f-a76d-0572cae28cab.json"
                ),
            )
        ),
    )
    assert event.variables == {"projectId": "anything", "artifactId": 65}
    assert (event.project_slug, event.page_path) == ("anything", "/projects/anything/bundle/65")
    assert event.bundle
    assert not event.bundle.baseline


def test_read_event__report_of_an_older_sender():
    keys = ("lighthouse", "screencast", "flameChart", "sourceCoverage")
    raw = {f"{key}StorageKey": key for key in keys}
    found = event_with(events.SOURCE_FINISHED, snapshotReport=raw).snapshot_report
    assert found == SnapshotReport(
        report_link="lighthouse",
        screencast_link="screencast",
        flame_chart_link="flameChart",
        source_coverage_link="sourceCoverage",
    )


@pytest.mark.parametrize("name", ["bundle:finished", "bundle-finished"])
def test_read_event__dash_and_colon_name_one_event(name):
    event = read_event({"eventType": name})
    assert (type(event), event.type) == (BundleFinished, events.BUNDLE_FINISHED)


@pytest.mark.parametrize(
    "name", [None, "", 1, True, ["bundle:finished"], {"bundle:finished": 1}], ids=repr
)
def test_read_event__names_no_event(name):
    event = read_event({"eventType": name})
    assert (type(event), event.type) == (Event, events.UNKNOWN)


def test_read_event__unknown_event():
    event = event_with("bundle:started", artifact={"id": 7}, snapshot={}, snapshotReport={})
    assert (type(event), event.type, event.project_slug) == (Event, "bundle:started", "web")
    assert (event.bundle, event.snapshot, event.snapshot_report) == (None, None, None)
    assert event.data["project"]["artifact"] == {"id": 7}


@pytest.mark.parametrize(("event_type", "event_class"), CLASSES.items())
def test_read_event__is_about_what_its_class_says(event_type, event_class):
    everything = {"artifact": {"id": 1}, "snapshot": {"id": 2}, "snapshotReport": {"id": 3}}
    event = event_with(event_type, **everything)
    about = {name: getattr(event, name) for name in ("bundle", "snapshot", "snapshot_report")}
    assert {name for name, value in about.items() if value is not None} == {
        BundleFinished: {"bundle"},
        LabSnapshotCompleted: {"snapshot"},
        LabSnapshotReportCompleted: {"snapshot_report"},
        SourceFinished: {"snapshot_report"},
    }[event_class]


@pytest.mark.parametrize("value", [None, True, 7, 1.5, "text", [], ["text"]], ids=repr)
@pytest.mark.parametrize("event_type", events.KNOWN)
@pytest.mark.parametrize("keys", [(), ("data",), ("data", "project")], ids=".".join)
def test_read_event__null_or_another_type_in_place_of_an_object(event_type, keys, value):
    raw = json.loads(sample_body(event_type))
    holder, place = raw, "payload"
    for key in keys:
        holder, place = holder[place], key
    holder[place] = value
    event = read_event(raw)
    assert event == CLASSES[event_type]()
    assert not any([event.bundle, event.snapshot, event.snapshot_report, event.project])
    assert event.project_slug == ("perfsee" if keys else None)
    page = {
        events.BUNDLE_FINISHED: "bundle/65",
        events.LAB_SNAPSHOT_COMPLETED: "home",
        events.LAB_SNAPSHOT_REPORT_COMPLETED: "lab/reports/65",
        events.SOURCE_FINISHED: "source",
    }[event_type]
    assert event.page_path == (f"/projects/perfsee/{page}" if keys else "")


@pytest.mark.parametrize("value", [None, True, 7, 1.5, "text", [], ["text"], {}], ids=repr)
def test_read_event__whatever_a_body_is(value):
    assert read_event(value) == Event()
    assert not read_event(value)


def test_event__chains_never_raise():
    assert BundleFinished().bundle.baseline.score is None
    assert LabSnapshotCompleted().snapshot.reports == ()
    assert SourceFinished().snapshot_report.page.url is None
    assert LabSnapshotReportCompleted().snapshot_report.snapshot.title is None


def test_snapshot_reports__null_among_them_left_out():
    event = event_with(
        events.LAB_SNAPSHOT_COMPLETED, snapshot={"snapshotReports": [None, {"id": 7}, 7, {}]}
    )
    assert event.snapshot
    assert event.snapshot.reports == (SnapshotReport(id=7), SnapshotReport())


def test_snapshot__nested_without_end_is_not_followed():
    snapshot: dict[str, Any] = {}
    for _ in range(100_000):
        snapshot = {"id": 7, "snapshotReports": [{"snapshot": snapshot}]}
    event = event_with(events.LAB_SNAPSHOT_COMPLETED, snapshot=snapshot)
    assert event.snapshot
    assert [found.snapshot for found in event.snapshot.reports] == [SnapshotReference(id=7)]
    while snapshot:  # taken apart, since to forget it at once would recurse
        [found] = snapshot["snapshotReports"]
        snapshot = found.pop("snapshot")


@pytest.mark.parametrize(
    ("project", "variables", "slug", "named"),
    [
        ({"id": "web"}, {"projectSlug": "other"}, "web", ["web", "other"]),
        ({"id": 12}, {}, "12", ["12"]),
        (None, {"projectSlug": "web", "projectId": "other"}, "web", ["web", "other"]),
        (None, {"projectId": "web"}, "web", ["web"]),
        ({"id": ""}, {"projectSlug": "web"}, "web", ["", "web"]),
        ({"id": None}, None, None, []),
        (None, None, None, []),
    ],
)
def test_event_project_slug(project, variables, slug, named):
    event = read_event({"payload": {"data": {"project": project}, "variables": variables}})
    assert (event.project_slug, event.named_projects) == (slug, named)


@pytest.mark.parametrize(
    ("event_type", "path"),
    [
        (events.BUNDLE_FINISHED, "/projects/perfsee/bundle/65"),
        (events.LAB_SNAPSHOT_COMPLETED, "/projects/perfsee/home"),
        (events.LAB_SNAPSHOT_REPORT_COMPLETED, "/projects/perfsee/lab/reports/65"),
        (events.SOURCE_FINISHED, "/projects/perfsee/source"),
    ],
)
def test_event_page_path__of_each_event(event_type, path):
    assert sample(event_type).page_path == path


@pytest.mark.parametrize("event_type", [events.BUNDLE_FINISHED, "lab:snapshot-report-completed"])
def test_event_page_path__without_a_number(event_type):
    assert event_with(event_type).page_path == "/projects/web/home"


@pytest.mark.parametrize(
    ("event_type", "variables", "path"),
    [
        (events.BUNDLE_FINISHED, {"projectSlug": "web", "artifactIid": 7}, "bundle/7"),
        (events.BUNDLE_FINISHED, {"projectId": "web", "artifactId": 7}, "bundle/7"),
        (
            events.LAB_SNAPSHOT_REPORT_COMPLETED,
            {"projectSlug": "web", "snapshotReportIid": 7},
            "lab/reports/7",
        ),
    ],
)
def test_event_page_path__from_the_variables(event_type, variables, path):
    payload = {"data": None, "variables": variables}
    event = read_event({"eventType": event_type, "payload": payload})
    assert event.page_path == f"/projects/web/{path}"


@pytest.mark.parametrize("number", ["a/b", 7])
def test_event_page_path__number_as_text(number):
    path = event_with(events.BUNDLE_FINISHED, artifact={"id": number}).page_path
    assert path == f"/projects/web/bundle/{str(number).replace('/', '%2F')}"


@pytest.mark.parametrize(
    ("slug", "path"),
    [
        (None, ""),
        ("", ""),
        ("a/../b?c#d", "/projects/a%2F..%2Fb%3Fc%23d/home"),
        ("é", "/projects/%C3%A9/home"),
        ("\ud83d", "/projects/%3F/home"),
        ('"><script>', "/projects/%22%3E%3Cscript%3E/home"),
    ],
)
def test_event_page_path__slug_is_quoted(slug, path):
    assert event_with(id=slug).page_path == path


def test_event_perfsee_url(webhook_setting):
    webhook_setting(PERFSEE_URL=None)
    assert sample(events.SOURCE_FINISHED).perfsee_url is None
    webhook_setting(PERFSEE_URL="https://perfsee.example/")
    url = sample(events.SOURCE_FINISHED).perfsee_url
    assert url == "https://perfsee.example/projects/perfsee/source"
    assert Event().perfsee_url is None


@given(raw=EVENTS_OF_ANY_TYPES | ANY_JSON)
def test_read_event__anything_at_any_key_reads_as_declared(raw):
    event = read_event(json.loads(json.dumps(raw)))
    for record in records_in(event):
        for name, declared in get_type_hints(type(record)).items():
            assert is_of(getattr(record, name), declared), name
    assert isinstance(event.page_path, str)
    assert isinstance(event.project_slug, str | None)
    assert event == pickle.loads(pickle.dumps(event)) == copy.deepcopy(event)  # noqa: S301
    assert hash(event) == hash(copy.copy(event))


@pytest.mark.parametrize("event_type", events.KNOWN)
def test_event__is_pickled_with_all_that_was_sent(event_type):
    event = sample(event_type)
    again = pickle.loads(pickle.dumps(event))  # noqa: S301  # what was dumped right here
    assert again == event
    assert [record.raw for record in records_in(again)] == [
        record.raw for record in records_in(event)
    ]


@pytest.mark.parametrize("event_type", events.KNOWN)
def test_event__cannot_be_changed_and_holds_nothing_else(event_type):
    for record in records_in(sample(event_type)):
        assert not hasattr(record, "__dict__")
        for field in dataclasses.fields(record):
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(record, field.name, None)


def test_payloads__names_what_it_offers():
    assert payloads.__all__ == sorted(payloads.__all__)
    assert all(getattr(payloads, name).__doc__ for name in payloads.__all__ if name != "Raw")


def fields_of_source() -> Iterator[tuple[str, str]]:
    """Yield each field and member in the package's source, with the literal that follows it."""
    for path in sorted(Path(*payloads.__path__).glob("*.py")):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.ClassDef):
                for statement, following in pairwise([*node.body, None]):
                    match statement:
                        case ast.AnnAssign(target=ast.Name(id=name)):
                            yield f"{node.name}.{name}", literal_of(following)
                        case ast.Assign(targets=[ast.Name(id=name)]) if name.isupper():
                            yield f"{node.name}.{name}", literal_of(following)


def literal_of(statement: ast.stmt | None) -> str:
    match statement:
        case ast.Expr(value=ast.Constant(value=str(text))):
            return text
        case _:
            return ""


def test_fields__each_has_a_docstring_that_names_its_source():
    docstrings = dict(fields_of_source())
    declared = {
        f"{kind.__name__}.{name}"
        for kind in map(payloads.__dict__.get, payloads.__all__)
        if isinstance(kind, type) and issubclass(kind, Record)
        for name in keys_of(kind)
        if name in kind.__annotations__
    }
    assert declared <= docstrings.keys()
    assert {name for name, docstring in docstrings.items() if not docstring} == set()
    assert {name for name in declared if "Source: " not in docstrings[name]} == set()


def test_fields__moments_and_durations_name_their_unit():
    docstrings = dict(fields_of_source())
    moments = [name for name in docstrings if name.endswith("_at")]
    assert len(moments) == 4
    assert all("in UTC" in docstrings[name] for name in moments)
    assert "milliseconds" in docstrings["Artifact.duration"]
    assert "points from 0 to 100" in docstrings["Artifact.score"]

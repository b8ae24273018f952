from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given

from perfsee_webhooks import events
from perfsee_webhooks.payloads import Artifact, Event, Snapshot, SnapshotReport
from perfsee_webhooks.records import Record
from perfsee_webhooks.samples import sample_body

from .strategies import EVENTS_OF_ANY_TYPES

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


def sample(event_type: str) -> Event:
    return Event(json.loads(sample_body(event_type)))


def event_with(**project: Any) -> Event:
    return Event({"payload": {"data": {"project": {"id": "web", **project}}}})


def properties(record: Record) -> dict[str, Any]:
    """Return the value of each property that the record's class declares."""
    return {name: getattr(record, name) for name in types_of(type(record))}


def types_of(record_class: type[Record]) -> dict[str, Any]:
    declared = {
        name: attribute.fget
        for name in dir(record_class)
        if isinstance(attribute := getattr(record_class, name), property)
    }
    return {name: get_type_hints(getter)["return"] for name, getter in declared.items()}


def is_of(value: object, declared: Any) -> bool:
    if get_origin(declared) is list:
        return isinstance(value, list) and all(is_of(item, *get_args(declared)) for item in value)
    if get_origin(declared) is not None and get_origin(declared) in Mapping.__mro__:
        return isinstance(value, Mapping)
    return isinstance(value, declared) and not isinstance(value, bool)


def records_in(value: object) -> list[Record]:
    """Return a record that holds something and those below it; an empty one goes on for ever."""
    if isinstance(value, list):
        return [record for item in value for record in records_in(item)]
    if not isinstance(value, Record) or not value.raw:
        return []
    below = properties(value).values()
    return [value, *(record for item in below for record in records_in(item))]


def test_event__page_example():
    event = Event(json.loads(PAGE_EXAMPLE))
    assert (event.type, event.project_slug) == (events.BUNDLE_FINISHED, "anything")
    assert event.variables == {"projectId": "anything", "artifactId": 65}
    assert properties(event.project) == {
        "slug": "anything",
        "host": "Github",
        "namespace": "perfsee",
        "name": "perfsee",
    }
    assert properties(event.artifact) == {
        "id": 65,
        "name": "main",
        "branch": "feat/webhook",
        "commit_hash": HASH,
        "status": "Passed",
        "failed_reason": None,
        "score": 57,
        "duration": 5433,
        "build_link": "builds/1/ad38f6ba-80a0-4d67-869b-8edbbfde0d81.tar",
        "report_link": "artifacts/1/bundle-results/89540a83-d862-4652-bd8b-3fe338c3eb4e.json",
        "content_link": "artifacts/1/bundle-content/4a5cbd9a-e04a-4b7f-a76d-0572cae28cab.json",
        "created_at": CREATED_AT,
        "baseline": Artifact({}),
    }


def test_event__bundle_of_the_server():
    event = sample(events.BUNDLE_FINISHED)
    assert event.project_slug == "perfsee"
    assert event.variables == {"projectSlug": "perfsee", "artifactIid": 65}
    assert event.artifact.build_link == "https://perfsee.example/v1/artifacts/1/build.tar"
    assert event.artifact.report_link == event.artifact.raw["reportLink"]
    assert event.artifact.content_link == event.artifact.raw["contentLink"]
    assert (event.artifact.baseline.id, event.artifact.baseline.score) == (64, 60)
    assert event.artifact.baseline.baseline == Artifact({})
    assert (event.snapshot, event.snapshot_report) == (Snapshot({}), SnapshotReport({}))


def test_event__snapshot_of_the_server():
    snapshot = sample(events.LAB_SNAPSHOT_COMPLETED).snapshot
    reports = snapshot.reports
    assert properties(snapshot) == {
        "id": 65,
        "title": "Nightly 中文 🚀",
        "status": "PartialCompleted",
        "failed_reason": None,
        "trigger": "Scheduler",
        "commit_hash": None,
        "reports": reports,
    }
    assert [(report.id, report.status) for report in reports] == [
        (650, "Completed"),
        (651, "Failed"),
    ]
    assert reports[1].failed_reason == "\x1b[31mTimeout\x1b[0m"


@pytest.mark.parametrize(
    "event_type", [events.LAB_SNAPSHOT_REPORT_COMPLETED, events.SOURCE_FINISHED]
)
def test_event__report_of_the_server(event_type):
    report = sample(event_type).snapshot_report
    [artifact] = report.artifacts
    assert (artifact.id, artifact.commit_hash) == (65, HASH)
    assert properties(report.page) == {
        "name": "Home",
        "url": "https://perfsee.example/home?a=1&b=2",
    }
    assert properties(report) == {
        "id": 65,
        "status": "Completed",
        "failed_reason": None,
        "page": report.page,
        "profile": "Mobile 4G",
        "environment": "Default",
        "report_link": "https://perfsee.example/v1/artifacts/1/lab/65/lighthouse.json",
        "created_at": CREATED_AT,
        "artifacts": [artifact],
    }


@pytest.mark.parametrize("name", ["bundle:finished", "bundle-finished"])
def test_event_type__dash_and_colon_name_one_event(name):
    assert Event({"eventType": name}).type == events.BUNDLE_FINISHED


@pytest.mark.parametrize(
    "name", [None, "", 1, True, ["bundle:finished"], {"bundle:finished": 1}], ids=repr
)
def test_event_type__unknown(name):
    assert Event({"eventType": name}).type == Event({}).type == events.UNKNOWN


@pytest.mark.parametrize("value", [None, True, 7, 1.5, "text", [], ["text"]], ids=repr)
@pytest.mark.parametrize("event_type", events.KNOWN)
@pytest.mark.parametrize("keys", [(), ("data",), ("data", "project")], ids=".".join)
def test_event__null_or_another_type_in_place_of_an_object(event_type, keys, value):
    raw = json.loads(sample_body(event_type))
    holder, place = raw, "payload"
    for key in keys:
        holder, place = holder[place], key
    holder[place] = value
    event = Event(raw)
    assert event.project.slug is None
    assert event.project_slug == ("perfsee" if keys else None)
    page = {
        events.BUNDLE_FINISHED: "bundle/65",
        events.LAB_SNAPSHOT_COMPLETED: "home",
        events.LAB_SNAPSHOT_REPORT_COMPLETED: "lab/reports/65",
        events.SOURCE_FINISHED: "source",
    }[event_type]
    assert event.page_path == (f"/projects/perfsee/{page}" if keys else "")
    assert not any([event.artifact.raw, event.snapshot.raw, event.snapshot_report.raw])


@pytest.mark.parametrize(
    ("value", "text", "integer", "number"),
    [
        ("a", "a", None, None),
        ("", "", None, None),
        (7, "7", 7, 7),
        (0, "0", 0, 0),
        (1.5, None, None, 1.5),
        (True, None, None, None),
        (None, None, None, None),
        (["a"], None, None, None),
        ({"a": 1}, None, None, None),
    ],
    ids=repr,
)
def test_record__value_of_another_type_is_none(value, text, integer, number):
    record = Record({"key": value})
    assert (record.text("key"), record.integer("key"), record.number("key")) == (
        text,
        integer,
        number,
    )


def test_record__missing_key_is_none():
    record = Record({})
    assert record.text("key") is None
    assert record.integer("key") is None
    assert record.number("key") is None
    assert record.moment("key") is None
    assert record.records("key") == []


def test_record_text__first_key_that_holds_one():
    assert Record({"a": None, "b": "B", "c": "C"}).text("a", "b", "c") == "B"


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        ("2022-12-18T23:12:04.076Z", CREATED_AT),
        ("2022-12-18T23:12:04.076", CREATED_AT),
        (
            "2022-12-19T01:12:04.076+02:00",
            CREATED_AT.astimezone(timezone(timedelta(hours=2))),
        ),
        ("yesterday", None),
        ("2022-13-45T00:00:00Z", None),
        ("\ud83d", None),
        ("", None),
        (1671405124076, None),
        (None, None),
    ],
)
def test_record_moment(value, moment):
    # A moment without a zone would equal no aware one.
    assert Record({"key": value}).moment("key") == moment


@pytest.mark.parametrize("value", [None, "text", 7, {"a": {}}, [None, "text", 7, [{}]]], ids=repr)
def test_record_records__whatever_is_no_object_left_out(value):
    assert Record({"key": value}).records("key") == []


def test_snapshot_reports__null_among_them_left_out():
    [report] = event_with(snapshot={"snapshotReports": [None, {"id": 7}]}).snapshot.reports
    assert report == SnapshotReport({"id": 7})


@pytest.mark.parametrize(
    ("project", "variables", "slug"),
    [
        ({"id": "web"}, {"projectSlug": "other"}, "web"),
        ({"id": 12}, {}, "12"),
        (None, {"projectSlug": "web", "projectId": "other"}, "web"),
        (None, {"projectId": "web"}, "web"),
        ({"id": ""}, {"projectSlug": "web"}, "web"),
        ({"id": None}, None, None),
        (None, None, None),
    ],
)
def test_event_project_slug(project, variables, slug):
    event = Event({"payload": {"data": {"project": project}, "variables": variables}})
    assert event.project_slug == slug


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


@given(raw=EVENTS_OF_ANY_TYPES)
def test_event__anything_at_any_key_reads_as_declared(raw):
    for record in records_in(Event(json.loads(json.dumps(raw)))):
        for name, declared in types_of(type(record)).items():
            assert is_of(getattr(record, name), declared), name

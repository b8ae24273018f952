from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given

from perfsee_webhooks import events
from perfsee_webhooks.payloads import read_event
from perfsee_webhooks.samples import sample_body
from perfsee_webhooks.summaries import MAX_LENGTH, subject_of, summary_of

from .strategies import EVENTS_OF_ANY_TYPES, is_storable


def summary(event_type: str, **project: Any) -> str:
    return summary_of(
        read_event({"eventType": event_type, "payload": {"data": {"project": project}}})
    )


@pytest.mark.parametrize(
    ("event_type", "line"),
    [
        (events.BUNDLE_FINISHED, "main @ feat/webhook passed, score 57"),
        (events.LAB_SNAPSHOT_COMPLETED, "Nightly 中文 🚀 partial completed, 2 reports, 1 failed"),
        (events.LAB_SNAPSHOT_REPORT_COMPLETED, "Home on Mobile 4G completed"),
        (events.SOURCE_FINISHED, "source of Home on Mobile 4G completed"),
    ],
)
def test_summary_of__samples(event_type, line):
    assert summary_of(read_event(json.loads(sample_body(event_type)))) == line


@pytest.mark.parametrize(
    ("event_type", "subject"),
    [
        (events.BUNDLE_FINISHED, "main @ feat/webhook"),
        (events.LAB_SNAPSHOT_COMPLETED, "snapshot"),
        (events.LAB_SNAPSHOT_REPORT_COMPLETED, "Home on Mobile 4G in Default"),
        (events.SOURCE_FINISHED, "Home on Mobile 4G in Default"),
    ],
)
def test_subject_of__samples(event_type, subject):
    assert subject_of(read_event(json.loads(sample_body(event_type)))) == subject


@given(event=EVENTS_OF_ANY_TYPES)
def test_subject_of__fits_its_column_whatever_comes(event):
    assert is_storable(subject_of(read_event(event)), MAX_LENGTH)


@pytest.mark.parametrize(
    ("artifact", "line"),
    [
        (
            {"name": "main", "branch": "b", "status": "Failed", "score": 0},
            "main @ b failed, score 0",
        ),
        ({"name": "main", "branch": "b", "failedReason": "no\nfile"}, "main @ b finished: no�file"),
        ({"name": "main", "branch": "b", "score": None}, "main @ b finished"),
        ({}, "? @ ? finished"),
        (None, "? @ ? finished"),
    ],
)
def test_summary_of__bundle(artifact, line):
    assert summary("bundle-finished", artifact=artifact) == line


@pytest.mark.parametrize(
    ("snapshot", "line"),
    [
        ({"title": "Nightly", "status": "Completed"}, "Nightly completed, 0 reports"),
        ({"id": 7, "snapshotReports": [{}]}, "snapshot 7 finished, 1 report"),
        (
            {"title": "", "status": "Failed", "failedReason": "why"},
            "snapshot ? failed, 0 reports: why",
        ),
        (
            {"snapshotReports": [{"status": "Failed"}, None]},
            "snapshot ? finished, 1 report, 1 failed",
        ),
        (None, "snapshot ? finished, 0 reports"),
    ],
)
def test_summary_of__snapshot(snapshot, line):
    assert summary(events.LAB_SNAPSHOT_COMPLETED, snapshot=snapshot) == line


@pytest.mark.parametrize(
    ("report", "line"),
    [
        ({"page": {"name": "Home", "url": "https://a"}, "status": "Failed"}, "Home failed"),
        ({"page": {"url": "https://a"}, "profile": None}, "https://a finished"),
        ({"page": None, "profile": {"name": "4G"}, "failedReason": "why"}, "? on 4G finished: why"),
        (None, "? finished"),
    ],
)
def test_summary_of__report(report, line):
    assert summary(events.LAB_SNAPSHOT_REPORT_COMPLETED, snapshotReport=report) == line
    assert summary(events.SOURCE_FINISHED, snapshotReport=report) == f"source of {line}"


@pytest.mark.parametrize("event_type", ["bundle:started", events.UNKNOWN, ""])
def test_summary_of__unknown_event_is_empty(event_type):
    assert summary(event_type, artifact={"name": "main"}) == ""


def test_summary_of__long_reason_does_not_hide_the_rest():
    line = summary(events.BUNDLE_FINISHED, artifact={"name": "main", "failedReason": "why " * 100})
    assert line.startswith("main @ ? finished: why why")
    assert line.endswith("…")
    assert len(line) == len("main @ ? finished: ") + 80


def test_summary_of__long_name_is_cut():
    line = summary(events.BUNDLE_FINISHED, artifact={"name": "m" * 1000})
    assert line == "m" * (MAX_LENGTH - 1) + "…"


@given(raw=EVENTS_OF_ANY_TYPES)
def test_summary_of__anything_at_any_key(raw):
    assert is_storable(summary_of(read_event(json.loads(json.dumps(raw)))), MAX_LENGTH)

"""Samples of Perfsee's events with the fields that a test is about.

A field is named as it is on the typed event: of what the event is about by its name alone
(`score=41`), of what lies within with two underscores (`baseline__score=60`, `page__url="…"`).
`project="web-shop"` sets the slug wherever it stands, and `id=7` the number. A value is what JSON
takes, or an aware `datetime`; None is null.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any, Final, Literal, get_type_hints, overload

from .. import events, samples
from ..envelope import Envelope, kept_headers, parse_body
from ..javascript import stringify
from ..models import Delivery
from ..payloads import (
    Bundle,
    BundleFinished,
    Event,
    LabSnapshotCompleted,
    LabSnapshotReportCompleted,
    Project,
    Record,
    Snapshot,
    SnapshotReport,
    SourceFinished,
    keys_of,
)
from ..sending import perfsee_headers

_PROJECT: Final = "project__"

# What an event is about, its key in the project, and its number in the variables of the query.
_SUBJECTS: Final[dict[str, tuple[type[Record], str, str]]] = {
    events.BUNDLE_FINISHED: (Bundle, "artifact", "artifactIid"),
    events.LAB_SNAPSHOT_COMPLETED: (Snapshot, "snapshot", "snapshotIid"),
    events.LAB_SNAPSHOT_REPORT_COMPLETED: (SnapshotReport, "snapshotReport", "snapshotReportIid"),
    events.SOURCE_FINISHED: (SnapshotReport, "snapshotReport", "snapshotReportIid"),
}


@overload
def sample_event(event_type: Literal["bundle:finished"], /, **overrides: Any) -> BundleFinished: ...
@overload
def sample_event(
    event_type: Literal["lab:snapshot-completed"], /, **overrides: Any
) -> LabSnapshotCompleted: ...
@overload
def sample_event(
    event_type: Literal["lab:snapshot-report-completed"], /, **overrides: Any
) -> LabSnapshotReportCompleted: ...
@overload
def sample_event(event_type: Literal["source:finished"], /, **overrides: Any) -> SourceFinished: ...
@overload
def sample_event(event_type: str, /, **overrides: Any) -> Event: ...
def sample_event(event_type: str, /, **overrides: Any) -> Event:
    """Return one of Perfsee's events, with some fields as the test wants them.

    Raises:
        ValueError: there is no such event; the message lists those that there are.
        TypeError: the event has no such field; the message names the nearest.
    """
    return parse_body(sample_body(event_type, **overrides))


def sample_body(event_type: str, /, **overrides: Any) -> bytes:
    """Return the body of `sample_event`, byte for byte as Perfsee writes it. Raises as that."""
    body = json.loads(samples.sample_body(event_type))
    for name, value in overrides.items():
        _set(body, name, _as_json(value))
    return stringify(body).encode()


def sample_delivery(event: str | bytes, /, **overrides: Any) -> Delivery:
    """Return a delivery as it would be stored, but not stored: no database is needed.

    event: the name of an event, whose sample has the `overrides`; or the exact bytes of a body

    Raises as `sample_event`.
    """
    body = event if isinstance(event, bytes) else sample_body(event, **overrides)
    headers = {
        f"HTTP_{name.upper().replace('-', '_')}": value
        for name, value in perfsee_headers(body, None, delivery_id=str(uuid.uuid4())).items()
    }
    return Delivery.of(Envelope.read(body, kept_headers(headers), "SECRETS[0]"))


def _set(body: dict[str, Any], name: str, value: Any) -> None:
    """Set a field of a parsed body, and whatever else has to say the same."""
    project, variables = body["payload"]["data"]["project"], body["payload"]["variables"]
    subject, key, number = _SUBJECTS[body["eventType"]]
    paths = {f"{_PROJECT}{field}": path for field, path in _paths_of(Project)}
    paths |= {field: (key, *path) for field, path in _paths_of(subject)}
    paths["project"] = paths[f"{_PROJECT}slug"]
    if name not in paths:
        near = get_close_matches(name, paths, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise TypeError(f"The sample of {body['eventType']} has no field {name!r}.{hint}")
    *within, last = paths[name]
    holder = project
    for step in within:
        holder[step] = holder.get(step) or {}
        holder = holder[step]
    holder[last] = value
    if name == "id":
        variables[number] = value
    if paths[name] == paths["project"]:
        variables["projectSlug"] = value


def _paths_of(kind: type[Record]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield each field below a record, as it is named here, with the keys that lead to it."""
    types = get_type_hints(kind)
    for name, keys in keys_of(kind).items():
        path = keys[:1]
        if path:
            yield name, path
        within = types[name]
        if isinstance(within, type) and issubclass(within, Record):
            # What has no key is the object itself: its fields are named as if they were its own.
            prefix = f"{name}__" if path else ""
            for field, further in _paths_of(within):
                yield prefix + field, path + further


def _as_json(value: Any) -> Any:
    """Return a moment as JavaScript writes it, and the rest as it is."""
    if not isinstance(value, datetime):
        return value
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

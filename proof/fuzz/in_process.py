"""What the package makes of hostile bodies and headers, held against what it promises, in process.

Each check raises `AssertionError`, or whatever the code that it tries raises beyond what is
documented: both are findings.
"""

from __future__ import annotations

import ast
import csv
import io
import json
import re
import time
import traceback
from datetime import UTC, datetime
from itertools import count
from pathlib import PurePosixPath, PureWindowsPath
from random import Random
from typing import Any, Final

from django.db.models import CharField
from django.test import override_settings

from perfsee_webhooks import envelope as envelopes
from perfsee_webhooks import export, log, text
from perfsee_webhooks.agreement import disagreements
from perfsee_webhooks.comparison import differences
from perfsee_webhooks.diagnosis import diagnose
from perfsee_webhooks.envelope import Envelope, kept_headers, parse_body, readable_event
from perfsee_webhooks.exceptions import MalformedRequest, ProjectNotAllowed, WrongSignature
from perfsee_webhooks.javascript import stringify
from perfsee_webhooks.models import Delivery, Rejection
from perfsee_webhooks.payloads import Event
from perfsee_webhooks.signatures import sign
from perfsee_webhooks.snippets import Request, pytest_test, signed_curl

from .bodies import any_body, any_text
from .findings import Tally

SECRET: Final = "the canary of all secrets"  # noqa: S105  # it is looked for where none may be
SETTING: Final = {
    "SECRETS": [SECRET],
    "HOOKS": {"7": {"SECRETS": [f" {SECRET} of seven"], "PROJECTS": ["web-*", "é*"]}},
    "PERFSEE_URL": "https://perfsee.example",
}
_COLUMNS: Final = (
    "delivery_id",
    "event_type",
    "project",
    "hook_id",
    "branch",
    "commit_hash",
    "summary",
    "subject",
    "verified_by",
)
_UNFIT: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029\u202a-\u202e\u2066-\u2069]"
)
_UNFIT_IN_LINES: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e]")
_FORMULA: Final = re.compile(r"[\t\r]|\s*[-=+@＝＋－＠]")  # noqa: RUF001  # the wide forms


def check_text(value: str, length: int) -> None:
    """Text is made storable, of at most the length, and one line where it has to be."""
    line = text.one_line(value, length)
    assert len(line) <= length
    assert not _UNFIT.search(line)
    assert text.one_line(line, length) == line
    assert line == value or _UNFIT.search(value) or len(value) > length
    several = text.lines(value, length)
    assert len(several) <= length
    assert not _UNFIT_IN_LINES.search(several)
    assert not _UNFIT_IN_LINES.search(text.pretty_json(value))
    assert json.loads(text.pretty_json(value)) == value or _has_pair(value)
    assert not any(map(_UNFIT.search, map(str, log.ids(named=value).values())))


def _has_pair(value: str) -> bool:
    """Say whether a lone surrogate stands before its other half, which no JSON can write."""
    return bool(re.search("[\ud800-\udbff][\udc00-\udfff]", value))


def check_headers(meta: dict[str, Any]) -> dict[str, str]:
    """Headers are kept as fit lines, and an id that is taken is a plain file name."""
    headers = kept_headers(meta)
    assert set(headers) <= set(envelopes.KEPT_HEADERS)
    for value in headers.values():
        assert len(value) <= 500
        assert not _UNFIT.search(value)
    try:
        delivery_id = envelopes.delivery_id_in(headers)
    except MalformedRequest:
        return headers
    assert PurePosixPath(delivery_id).name == delivery_id
    assert PureWindowsPath(delivery_id).name == delivery_id or ":" in delivery_id
    assert delivery_id.isascii()
    assert delivery_id.isprintable()
    assert len(delivery_id) <= 128
    assert not _FORMULA.match(delivery_id)
    return headers


def check_body(body: bytes, headers: dict[str, str]) -> Envelope:
    """A signed body is stored whatever it holds, in columns that every database takes."""
    headers = {**headers, envelopes.DELIVERY_HEADER: "an-id"}
    try:
        event = parse_body(body)
    except ValueError:
        event = Event()
    read = Envelope.read(body, headers, "SECRETS[0]")
    assert read.body == body
    assert envelopes.SIGNATURE_HEADER not in read.headers
    for name in _COLUMNS:
        value = getattr(read, name)
        column = Delivery._meta.get_field(name)
        assert isinstance(column, CharField)
        assert len(value) <= (column.max_length or 0), name
        assert not _UNFIT.search(value), name
    check_event(event)
    assert readable_event(body) == event
    try:
        read.require_project(["web-*"])
    except ProjectNotAllowed:
        assert not event.named_projects or any(
            not slug.startswith("web-") for slug in event.named_projects
        )
    list(
        disagreements(
            headers, event_type=read.event_type, project=read.project, body_size=len(body)
        )
    )
    assert not any(isinstance(v, str) and _UNFIT.search(v) for v in log.ids_of(read).values())
    return read


def check_event(event: Event) -> None:
    """Whatever an event is asked answers, and leads to no other site than Perfsee's."""
    hash(event)
    repr(event)
    assert event == event  # noqa: PLR0124  # it compares each of its records
    assert re.fullmatch(r"(/projects/[!-~]+)?", event.page_path)
    url = event.perfsee_url
    assert url is None or url.startswith("https://perfsee.example/projects/")
    assert event.variables is not None
    assert event.data is not None
    if event.snapshot:
        reports = event.snapshot.reports
        assert len(list(reports)) == len(reports)


def check_comparison(before: bytes, after: bytes) -> None:
    """Any two values compare, each place in one line of text, and none differs from itself."""
    old, new = readable_event(before).raw, readable_event(after).raw
    for difference in differences(dict(old), dict(new)):
        str(difference.by)
        assert not _UNFIT_IN_LINES.search(str(difference.place))
    assert not list(differences(dict(new), dict(new)))
    try:
        again = stringify(new)
    except RecursionError:
        return
    again.encode()


def check_snippets(read: Envelope) -> None:
    """The test compiles and has the exact bytes; the script shows no secret and no odd byte."""
    request = Request(delivery_id=read.delivery_id, body=read.body, headers=read.headers)
    module = ast.parse(pytest_test(request))
    assigned = {
        node.targets[0].id: node.value
        for node in module.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    assert ast.literal_eval(assigned["BODY"]) == read.body
    for value in ast.literal_eval(assigned["HEADERS"]).values():
        assert not re.search(r"[\r\n\x00]", value)
        value.encode("latin-1")
    script = signed_curl(request, "https://site.example/perfsee/webhook/")
    assert not _UNFIT_IN_LINES.search(script)
    assert SECRET not in script


def check_export(read: Envelope) -> None:
    """A row is one line of JSON that reads back, and one of CSV without a formula."""
    row: dict[str, Any] = dict.fromkeys(export.COLUMNS)
    row |= {name: getattr(read, name) for name in export.COLUMNS if hasattr(read, name)}
    line = export.as_json({**row, "body": read.body, "body_pruned_at": None})
    assert not _UNFIT.search(line)
    told = json.loads(line)
    assert told["summary"] == read.summary
    assert told["body"] is None or told["body"].encode() == read.body
    cells = next(csv.reader(io.StringIO(export._as_csv_line(row))))
    assert len(cells) == len(export.COLUMNS)
    assert not any(map(_FORMULA.match, cells))
    assert not any(map(_UNFIT.search, cells))


def check_diagnosis(read: Envelope, signature: str) -> None:
    """What was wrong is told in text that can be shown, without a secret or a digest."""
    rejection = Rejection(
        reason=WrongSignature.code,
        headers={**read.headers, envelopes.SIGNATURE_HEADER: signature},
        body=read.body,
        body_size=len(read.body),
        received_at=datetime.now(UTC),
    )
    told = "".join(
        part
        for finding in diagnose(rejection)
        for part in (finding.what, finding.advice, *finding.causes)
    )
    assert told
    assert not _UNFIT.search(told)
    assert SECRET not in told
    assert sign(read.body, SECRET).removeprefix("sha256=") not in told


def any_meta(random: Random) -> dict[str, Any]:
    """Return the environment of a request in which headers hold any text."""
    values = (any_text, lambda r: any_text(r).encode("utf-8", "replace").decode("latin-1"))
    names = [key for _name, key in envelopes._META_KEYS]
    meta = {name: random.choice(values)(random) for name in random.sample(names, 6)}
    if random.random() < 0.3:
        meta["HTTP_X_PERFSEE_HOOK_ID"] = "7"
    return meta


def check_all(random: Random, body: bytes, before: bytes) -> None:
    """Hold every promise against a body, with headers drawn for it."""
    check_text(any_text(random), random.choice((1, 2, 20, 100, 500)))
    read = check_body(body, check_headers(any_meta(random)))
    check_comparison(before, body)
    check_snippets(read)
    check_export(read)
    signature = random.choice((any_text(random), sign(body, SECRET), sign(body, f"{SECRET}\n")))
    check_diagnosis(read, text.one_line(signature, 500))


def try_one(tally: Tally, seed: str) -> None:
    """Make the input of a seed, and hold every promise against it."""
    random = Random(seed)  # noqa: S311  # a seed has to make the same again
    kind, body = any_body(random)
    tally.count(f"in process: {kind}")
    try:
        with override_settings(PERFSEE_WEBHOOKS=SETTING):
            check_all(random, body, any_body(random)[1])
    except Exception as error:  # noqa: BLE001  # whatever it is, it is a finding
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{PurePosixPath(frame.filename).name}:{frame.lineno}"
        said = text.one_line(str(error) or str(frame.line), 200)
        tally.add(where, f"{type(error).__name__} at {where}: {said}", body, seed=seed)


def run(tally: Tally, *, seconds: float, seed: int) -> None:
    """Try inputs for as long as asked for; the same seed tries the same ones."""
    deadline = time.monotonic() + seconds
    for number in count():
        if time.monotonic() > deadline:
            return
        try_one(tally, f"{seed}/{number}")

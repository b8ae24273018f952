"""The command of the export: what it chooses, where it writes, and how it ends."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError

from perfsee_webhooks import export
from perfsee_webhooks.export import COLUMNS
from perfsee_webhooks.models import Delivery

from .documents import DOCS, blocks_of
from .figures import came
from .sites import ROOT, Site, running_environment
from .test_export import NOW

pytestmark = pytest.mark.django_db

EXPORT_MD = DOCS / "export.md"

FILL = """
from django.utils import timezone
Delivery.objects.bulk_create(
    Delivery(delivery_id=str(number), event_type="bundle:finished", body=b"{}",
             received_at=timezone.now(), summary="Größe \\N{WAVE DASH}")
    for number in range(2000)
)
"""


def perfsee_export(*arguments):
    written = StringIO()
    call_command("perfsee_export", *arguments, stdout=written)
    return written.getvalue()


def test_export__is_ndjson_of_every_delivery():
    rows = [came(NOW), came(NOW)]
    written = [json.loads(line) for line in perfsee_export().splitlines()]
    assert [row["id"] for row in written] == [row.pk for row in rows]
    assert "body" not in written[0]


def test_export__takes_the_arguments_that_choose():
    came(NOW, "dead", project="docs")
    chosen = came(NOW, "dead", project="web")
    came(NOW, "succeeded", project="web")
    arguments = ("--state=dead", "--project=web", "--from=2026-01-01T00:00:00")
    (row,) = map(json.loads, perfsee_export(*arguments, "--with-body").splitlines())
    assert (row["id"], row["body"]) == (chosen.pk, "{}")
    assert perfsee_export(*arguments, f"--id={chosen.delivery_id}").count("\n") == 1


@pytest.mark.parametrize("argument", ["--event", "--project", "--hook", "--failure-group"])
@pytest.mark.parametrize("command", ["perfsee_export", "perfsee_replay"])
def test_selection__takes_no_empty_argument_for_any(command, argument):
    """As a variable of the shell is that has not been set."""
    with pytest.raises(CommandError, match=f"{argument} is empty") as refused:
        call_command(command, f"{argument}=", stdout=StringIO())
    assert refused.value.returncode == 2


def test_export__as_csv():
    came(NOW)
    (row,) = csv.DictReader(StringIO(perfsee_export("--format=csv"), newline=""))
    assert row["event_type"] == "bundle:finished"


def test_export__into_a_file(tmp_path):
    came(NOW, summary="Größe")
    file = tmp_path / "deliveries.csv"
    file.write_text("what was there before " * 1000)
    assert perfsee_export("--format=csv", f"--output={file}") == ""
    assert file.read_bytes().decode().endswith(",\r\n")
    assert "Größe" in file.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--format=csv", "--with-body"], "CSV has no bodies"),
        (["--format=xml"], "invalid choice: 'xml'"),
        (["--event=,"], "names no event"),
        (["--id=nothing"], r"No delivery has the id nothing\."),
        (["--output=/nowhere/at/all"], "It could not be written: .*No such file"),
    ],
)
def test_mistake__is_told(arguments, error):
    with pytest.raises(CommandError, match=error):
        perfsee_export(*arguments)


def test_export__that_breaks_off_says_so(monkeypatch):
    came(NOW)

    def fail(*_arguments, **_options):
        raise DatabaseError("the connection is lost")

    monkeypatch.setattr(export, "rows_of", fail)
    with pytest.raises(CommandError, match="The database did not answer: the connection is lost"):
        perfsee_export()


def test_export_md__shows_commands_that_write_files(tmp_path, monkeypatch):
    came(NOW, "dead")
    monkeypatch.chdir(tmp_path)
    commands = [words for block in blocks_of(EXPORT_MD, "console") for words in block.commands]
    shown = [words for words in commands if words[2] == "perfsee_export"]
    for _python, _manage, *arguments in shown:
        call_command(*arguments)
    assert (tmp_path / "dead.csv").read_text().count("\n") == 2
    assert '"body": "{}"' in (tmp_path / "bundles.ndjson").read_text()


def test_export_md__has_each_column():
    rows = re.findall(
        r"^\| (`.*`) \|", EXPORT_MD.read_text().partition("How much")[0], re.MULTILINE
    )
    assert sorted(re.findall(r"`(\w+)`", " ".join(rows))) == sorted(COLUMNS)


def run(site_database_url, *arguments, **options):
    return subprocess.Popen(
        [sys.executable, "manage.py", "perfsee_export", "--skip-checks", *arguments],
        cwd=ROOT,
        env=running_environment(site_database_url, {"PYTHONIOENCODING": "ascii"}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **options,
    )


def test_output__is_utf_8_in_each_locale_and_ends_quietly_with_its_reader(site_database_url):
    site = Site(environment=running_environment(site_database_url))
    site.manage("shell", "-v0", "-c", f"from perfsee_webhooks.models import Delivery{FILL}")
    with run(site_database_url) as process:
        written, complaints = process.communicate()
    assert (process.returncode, complaints) == (0, b"")
    assert written.decode().count("Größe \N{WAVE DASH}") == 2000
    with run(site_database_url) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        complaints = process.stderr.read()
    assert (process.returncode, complaints) == (0, b"")
    assert not Delivery.objects.exists(), "it is another database"

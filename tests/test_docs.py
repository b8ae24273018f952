"""Runs what the documentation shows: a block of settings through the checks, a command for real."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from django.core.management import call_command

from perfsee_webhooks.models import Delivery, ReceiverRun, Replay
from perfsee_webhooks.processing import process
from perfsee_webhooks.signals import bundle_finished

from . import test_engines
from .sites import ROOT, running_environment

ENGINES_MD = ROOT / "docs" / "engines.md"

# By the heading of a section: the engine that the tests run with these settings.
ENGINES = {
    "Database worker": "db",
    "RQ": "rq",
    "Celery": "fennel",
    "Your own function": "dotted-path",
}


@dataclass(frozen=True, kw_only=True)
class Block:
    """A block of code, and the heading that it stands under."""

    heading: str
    language: str
    code: str

    @property
    def file(self) -> str:
        """The file that the block belongs in, as its first line says."""
        return self.code.partition("\n")[0].removeprefix("# ")


def blocks_of(document: Path) -> list[Block]:
    return [
        Block(heading=section.partition("\n")[0], language=language, code=code)
        for section in re.split(r"^## ", document.read_text(), flags=re.MULTILINE)
        for language, code in re.findall(
            r"^```(\w+)\n(.*?)^```$", section, re.DOTALL | re.MULTILINE
        )
    ]


BLOCKS = blocks_of(ENGINES_MD)
REPLAY_MD = blocks_of(ROOT / "docs" / "replay.md")


def modules_under(heading: str) -> dict[str, str]:
    return {
        block.file: block.code
        for block in BLOCKS
        if block.heading == heading and block.language == "python"
    }


def statements_of(source: str) -> set[str]:
    """Return the lines without comments, with the name that the documentation gives the site."""
    lines = (re.sub(r" *#.*", "", line) for line in source.splitlines())
    return {line.strip().replace("tests.engines.mysite", "mysite") for line in lines if line}


@pytest.mark.parametrize("heading", ENGINES)
def test_engines_md__shows_settings_that_pass_the_checks(heading, tmp_path):
    package = tmp_path / "mysite"
    package.mkdir()
    (package / "__init__.py").touch()
    for file, code in modules_under(heading).items():
        (package / Path(file).name).write_text(
            f"from example_project.settings import *\n{code}" if file == "settings.py" else code
        )
    environment = running_environment(
        f"sqlite:///{tmp_path / 'site.sqlite3'}",
        {
            "DJANGO_SETTINGS_MODULE": "mysite.settings",
            "PERFSEE_SECRETS": "a secret that is long enough",
            "PYTHONPATH": str(tmp_path),
            "REDIS_URL": "redis://localhost",
        },
    )
    check = subprocess.run(
        [sys.executable, "manage.py", "check"],
        capture_output=True,
        check=False,
        cwd=ROOT,
        env=environment,
        text=True,
    )
    assert check.returncode == 0, check.stderr
    assert "perfsee_webhooks." not in check.stderr


@pytest.mark.parametrize(("heading", "name"), ENGINES.items())
def test_engines_md__shows_what_the_engine_is_tested_with(heading, name):
    engine = test_engines.ENGINES[name]
    settings = ROOT.joinpath(*engine.settings.split(".")).with_suffix(".py")
    modules = [ROOT / "example_project" / "settings.py", settings]
    if settings.parent.name == "mysite":
        modules += settings.parent.glob("*.py")
    tested = set().union(*(statements_of(module.read_text()) for module in modules))
    if engine.processing:
        tested.add(f'PERFSEE_WEBHOOKS["PROCESSING"] = "{engine.processing}"')
    shown = set().union(*map(statements_of, modules_under(heading).values()))
    assert shown
    assert shown <= tested


def test_engines_md__has_python_for_each_engine_and_for_nothing_else():
    headings = {block.heading for block in BLOCKS if block.language == "python"}
    assert headings == ENGINES.keys()
    assert set(ENGINES.values()) == test_engines.ENGINES.keys()


def test_engines_md__shows_the_worker_of_each_engine():
    for heading, name in ENGINES.items():
        worker = test_engines.ENGINES[name].worker.replace("tests.engines.mysite", "mysite")
        assert worker in [
            line
            for block in BLOCKS
            if (block.heading, block.language) == (heading, "console")
            for line in block.code.splitlines()
        ]


def test_engines_md__names_only_commands_that_are_run():
    shown = [
        line for block in BLOCKS if block.language == "console" for line in block.code.splitlines()
    ]
    workers = [engine.worker for engine in test_engines.ENGINES.values()]
    run = [test_engines.MIGRATE, test_engines.SWEEP, test_engines.WATCH, *workers]
    assert sorted(shown) == sorted(line.replace("tests.engines.mysite", "mysite") for line in run)


@pytest.mark.parametrize("target", re.findall(r"\]\(#([^)]+)\)", ENGINES_MD.read_text()))
def test_engines_md__links_to_headings_that_exist(target):
    headings = re.findall(r"^#+ (.*)$", ENGINES_MD.read_text(), re.MULTILINE)
    assert target in [heading.lower().replace(" ", "-") for heading in headings]


def test_replay_md__shows_commands_that_do_what_it_says(delivery, connect, capsys):
    receiver = connect(bundle_finished)
    lines = [block.code.strip() for block in REPLAY_MD if block.language == "console"]
    assert len(lines) == 3
    for line in lines:
        Delivery.objects.update(state="dead")
        ReceiverRun.objects.all().delete()
        python, manage, *arguments = shlex.split(line)
        assert (python, manage) == ("python", "manage.py")
        call_command(*arguments)
    printed = capsys.readouterr().out
    assert "1 delivery would be run again" in printed
    assert "is finished: 1 opened again. They are now: 1 succeeded." in printed
    assert "The databases are rolled back." in printed
    assert receiver.call_count == 2, "carried out, and dry"
    assert Replay.objects.get().reason == "the chat is back"


def test_replay_md__shows_code_that_does_what_it_says(delivery, connect, capsys):
    receiver = connect(bundle_finished)
    process(delivery.pk)
    Delivery.objects.update(state="dead")
    (code,) = (block.code for block in REPLAY_MD if block.language == "python")
    exec(code, {})  # noqa: S102  # it is the documentation's
    assert capsys.readouterr().out == "1 deliveries, 0 runs, 0 of them after success\n"
    assert receiver.call_count == 1
    delivery.refresh_from_db()
    assert delivery.state == "succeeded"


def test_admin_md__shows_commands_that_do_what_it_says(db, settings, capsys):
    settings.ALLOWED_HOSTS = ["hooks.example.com"]
    lines = [
        block.code.strip()
        for block in blocks_of(ROOT / "docs" / "admin.md")
        if block.language == "console"
    ]
    assert len(lines) == 2
    for line in lines:
        _python, _manage, *arguments = shlex.split(line)
        call_command(*arguments)
    printed = capsys.readouterr().out
    assert printed.count("A signed delivery to hooks.example.com was verified and stored") == 2


@pytest.mark.parametrize(
    "document", sorted((ROOT / "docs").glob("*.md")), ids=lambda path: path.name
)
def test_docs__link_to_files_that_exist(document):
    targets = re.findall(r"\]\(((?!https?:)[^)#]+)", document.read_text())
    assert [target for target in targets if not (document.parent / target).exists()] == []

"""Holds what the documentation shows: each block is run, type-checked or parsed, each link leads
somewhere, and each table says what the code says.
"""

from __future__ import annotations

import ast
import configparser
import importlib.util
import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import ModuleType

import pytest
from django.core.management import call_command, get_commands, load_command_class

from perfsee_webhooks import signals
from perfsee_webhooks.conf import DEFAULTS, SQLITE_OPTIONS
from perfsee_webhooks.exceptions import RequestRefused
from perfsee_webhooks.models import Delivery, ReceiverRun, Replay
from perfsee_webhooks.models.queries import DeliveryState
from perfsee_webhooks.processing import process
from perfsee_webhooks.signals import bundle_finished

from . import test_engines
from .documents import DOCS, PAGES, Block, anchors_of, blocks_of, links_of, modules_of
from .sites import ROOT, Site, running_environment, running_site

ENGINES_MD = DOCS / "engines.md"
HOW_IT_WORKS_MD = DOCS / "how-it-works.md"

# By the heading of a section: the engine that the tests run with these settings.
ENGINES = {
    "Database worker": "db",
    "RQ": "rq",
    "Celery": "fennel",
    "Your own function": "dotted-path",
}

BLOCKS = blocks_of(ENGINES_MD)

ALL_BLOCKS = [block for page in PAGES for block in blocks_of(page)]


def python_runs(code: str) -> None:
    """Nothing to do here: mypy checks each block of Python, and `compile` that it is some."""
    ast.parse(code)


def ini_is_read(code: str) -> None:
    configparser.ConfigParser(strict=False, interpolation=None).read_string(code)


def shell_is_read(code: str) -> None:
    subprocess.run(["sh", "-n"], input=code, text=True, check=True)


def directive_is_sphinx_own(code: str) -> None:
    """`make docs` builds it, with warnings as errors."""


def nothing_can_read_it(code: str) -> None:
    """There is no parser in the standard library, or it is what something prints."""


# What holds a block of each language, beside the test of its page; there is no other language.
HELD_BY: dict[str, Callable[[str], object]] = {
    "python": python_runs,
    "console": shell_is_read,
    "sh": shell_is_read,
    "json": json.loads,
    "toml": tomllib.loads,
    "ini": ini_is_read,
    "mermaid": nothing_can_read_it,  # a test of its own compares it with the drawing
    "nginx": nothing_can_read_it,
    "text": nothing_can_read_it,
    "yaml": nothing_can_read_it,
    "{toctree}": directive_is_sphinx_own,
    "{include} ../CHANGELOG.md": directive_is_sphinx_own,
    "{eval-rst}": directive_is_sphinx_own,
}

# Commands that are no management commands, each with the test that runs it.
RUN_BY = {
    ".": "test_quickstart_md",
    "celery": "test_engines",
    "django-admin": "test_quickstart_md, test_wheel",
    "export": "test_quickstart_md",
}


@pytest.mark.parametrize("block", ALL_BLOCKS, ids=str)
def test_docs__hold_each_block(block):
    assert block.language in HELD_BY, "no test can hold a block of this language"
    HELD_BY[block.language](block.code)


@pytest.mark.parametrize(
    "block", [block for block in ALL_BLOCKS if block.language == "console"], ids=str
)
def test_docs__show_commands_that_exist(block):
    for words in block.commands:
        match words:
            case ["python", "manage.py", name, *arguments] if name in get_commands():
                parser_of(name).parse_args(arguments)
            case ["python", "manage.py", *_]:
                workers = [engine.worker for engine in test_engines.ENGINES.values()]
                assert any(set(words) <= {"python", *shlex.split(worker)} for worker in workers)
            case ["python", "-m", "pip", "install", *arguments]:
                assert [word for word in arguments if not can_be_installed(word)] == []
            case ["make", target, *_]:
                assert f"\n{target}: " in (ROOT / "Makefile").read_text()
            case ["python", "-m", module, *_]:
                assert importlib.util.find_spec(module)
            case [program, *_]:
                assert program in RUN_BY


def parser_of(name):
    command = load_command_class(get_commands()[name], name)
    return command.create_parser("manage.py", name)


def can_be_installed(requirement: str) -> bool:
    named = re.fullmatch(r"django-perfsee-webhooks(?:\[([\w,]+)\])?", requirement)
    extras = PROJECT["optional-dependencies"].keys()
    return requirement == "--upgrade" or bool(
        named and set((named[1] or "").split(",")) <= {"", *extras}
    )


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

MYPY_INI = """
[mypy]
plugins = mypy_django_plugin.main
check_untyped_defs = True
disable_error_code = import-untyped
explicit_package_bases = True
mypy_path = {folder}

[mypy.plugins.django-stubs]
django_settings_module = documented_settings
strict_settings = False

[mypy-{packages}]
ignore_missing_imports = True
"""

# What a module of `startproject` holds above the lines that a page adds to it.
BEGINNINGS = {
    "settings.py": "from typing import Any\nfrom example_project.settings import DATABASES\n"
    "INSTALLED_APPS: list[str] = []\nPERFSEE_WEBHOOKS: dict[str, Any] = {}\n",
    "urls.py": "from typing import Any\nurlpatterns: list[Any] = []\n",
}


@pytest.mark.once
def test_docs__show_python_that_type_checks(tmp_path):
    """Each block is a module; those of one page and heading that name their file are a package."""
    pytest.importorskip("mypy", reason="a machine that runs the suite alone has no mypy")
    for block in ALL_BLOCKS:
        if block.language == "python":
            write_module(block, tmp_path / "blocks")
    files = [file.relative_to(tmp_path) for file in (tmp_path / "blocks").rglob("*.py")]
    apps = [".".join(file.parent.parts) for file in files if file.name == "models.py"]
    settings = "".join(block.code for block in ALL_BLOCKS if block.file.endswith("settings.py"))
    own = set(re.findall(r"^([A-Z_]+) = os.environ", settings, re.MULTILINE))
    (tmp_path / "documented_settings.py").write_text(
        f"from example_project.settings import *\nINSTALLED_APPS += {apps}\n"
        + "".join(f'{name} = ""\n' for name in sorted(own))
    )
    # The other modules of these sites are those that `startproject` makes.
    packages = {file.parts[3] for file in files if len(file.parts) > 4}
    (tmp_path / "mypy.ini").write_text(
        MYPY_INI.format(
            folder=tmp_path, packages=",".join(f"{name}.*" for name in sorted(packages))
        )
    )
    command = ["-m", "mypy", "--config-file", tmp_path / "mypy.ini"]
    checked = subprocess.run(
        [sys.executable, *command, "--cache-dir", tmp_path / "cache", tmp_path / "blocks"],
        capture_output=True,
        check=False,
        cwd=ROOT,
        env=running_environment("sqlite://", {"PYTHONPATH": str(tmp_path)}),
        text=True,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def write_module(block: Block, folder: Path) -> None:
    page = re.sub(r"\W", "_", block.page.stem)
    heading = re.sub(r"\W", "_", block.heading.lower()) if block.page == ENGINES_MD else "page"
    file = folder / page / heading / (block.file or f"line_{block.line}.py")
    file.parent.mkdir(parents=True, exist_ok=True)
    beginning = "" if file.exists() else BEGINNINGS.get(file.name, "")
    with file.open("a") as module:
        module.write(beginning + block.code)


@pytest.mark.parametrize("document", PAGES, ids=lambda path: path.name)
def test_docs__link_to_what_exists(document):
    for link in links_of(document):
        name, _, anchor = link.partition("#")
        target = document.parent / name if name else document
        assert target.exists(), link
        assert not anchor or anchor in anchors_of(target), link


def test_index_md__leads_to_each_page():
    listed = [
        name
        for block in blocks_of(DOCS / "index.md", "{toctree}")
        for name in block.code.splitlines()
        if name and not name.startswith(":")
    ]
    assert sorted(listed) == sorted({page.stem for page in DOCS.glob("*.md")} - {"index"})


def settings_page() -> ModuleType:
    spec = importlib.util.spec_from_file_location("settings_page", DOCS / "settings_page.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_settings_md__is_what_the_code_says():
    assert (DOCS / "settings.md").read_text() == settings_page().page(), "run `make docs`"


def test_settings_md__has_each_key_and_its_default():
    section = r"^## `([A-Z_]+)`\n.*?Default: `(.*?)`\.$"
    shown = re.findall(section, (DOCS / "settings.md").read_text(), re.MULTILINE | re.DOTALL)
    assert [key for key, _ in shown] == list(DEFAULTS)
    for key, default in shown:
        value = eval(default, {"timedelta": timedelta})  # noqa: S307  # it is the documentation's
        assert (tuple(value) if isinstance(value, list) else value) == DEFAULTS[key]


def test_settings_md__has_each_system_check():
    sources = [path.read_text() for path in (ROOT / "perfsee_webhooks" / "checks").glob("*.py")]
    ids = set(re.findall(r"perfsee_webhooks\.[EW]\d+", "".join(sources)))
    shown = re.findall(r"^\| `(perfsee_webhooks\..*?)`", settings_page().page(), re.MULTILINE)
    assert set(shown) == ids
    assert len(ids) > 15


def test_settings_md__shows_the_options_that_sqlite_is_tested_with():
    assert set(SQLITE_OPTIONS) == {"transaction_mode", "timeout", "init_command"}


def test_how_it_works_md__draws_the_states_that_it_lists():
    """The drawing is in the pages that Sphinx makes, the list is what GitHub draws."""
    (listed,) = blocks_of(HOW_IT_WORKS_MD, "mermaid")
    changes = re.findall(r"^ +(\S+) --> (\S+) : (.*)$", listed.code, re.MULTILINE)
    drawn = re.findall(
        r'data-from="(.*?)" data-to="(.*?)">.*?<text .*?>(.*?)</text>',
        (DOCS / "images" / "states.svg").read_text(),
    )
    assert sorted(drawn) == sorted(changes)
    assert {to for _, to, _ in changes} == set(DeliveryState.values)


def test_how_it_works_md__lists_each_status_of_an_answer():
    shown = re.findall(r"^\| (\d+) \|", HOW_IT_WORKS_MD.read_text(), re.MULTILINE)
    refusals = {refusal.status for refusal in RequestRefused.__subclasses__()}
    assert {int(status) for status in shown} == {204, 405, *refusals}


def test_receivers_md__lists_each_signal():
    shown = re.findall(r"^\| `(\w+)` \|", (DOCS / "receivers.md").read_text(), re.MULTILINE)
    sent = {signal: name for name, signal in vars(signals).items() if name.islower()
            and isinstance(signal, signals.EventSignal)}  # fmt: skip
    assert sorted(shown) == sorted(sent.values())


def new_site(folder: Path, pages: list[str], settings: str = "") -> Path:
    """Make the site of the quickstart, and of pages that go on with it, as their readers do."""
    commands = [
        words for block in blocks_of(DOCS / "quickstart.md", "console") for words in block.commands
    ]
    for words in commands:
        if words[0] == "django-admin" or "startapp" in words:
            program = ["-m", "django"] if words[0] == "django-admin" else ["manage.py"]
            arguments = words[1:] if words[0] == "django-admin" else words[2:]
            subprocess.run([sys.executable, *program, *arguments], check=True, cwd=folder)
    modules = modules_of([block for page in pages for block in blocks_of(DOCS / page)])
    for name, code in modules.items():
        with (folder / name).open("a" if name.startswith("mysite/") else "w") as module:
            module.write(code)
    with (folder / "mysite" / "settings.py").open("a") as module:
        module.write(settings)
    return folder


SERVER = ("gunicorn", "--no-control-socket", "--bind=127.0.0.1:0", "mysite.wsgi")
ENVIRONMENT = {
    "DJANGO_SETTINGS_MODULE": "mysite.settings",
    "PERFSEE_SECRET": re.findall(r"PERFSEE_SECRET=(\w+)", (DOCS / "quickstart.md").read_text())[-1],
}


@pytest.mark.once
def test_quickstart_md__leads_to_a_first_delivery(tmp_path):
    new_site(tmp_path, ["quickstart.md"])
    unstarted = Site(environment=running_environment("", ENVIRONMENT), folder=tmp_path)
    unstarted.manage("migrate", "-v0")
    unstarted.manage("check", "--fail-level=WARNING")
    with running_site(SERVER, "", ENVIRONMENT, folder=tmp_path) as site:
        sent = site.manage("perfsee_send", "--url", site.url)
        assert re.findall(r"^204", sent, re.MULTILINE) == ["204"] * 4
        site.wait_until_settled()
        states = site.query("sorted(Delivery.objects.values_list('state', flat=True))")
        assert states == "['succeeded', 'unhandled', 'unhandled', 'unhandled']"
        assert "error" not in site.manage("perfsee_doctor")
        site.manage("test")
        (shown,) = blocks_of(DOCS / "quickstart.md", "text")
        assert shown.code in "".join(site.printed)


class Chat(BaseHTTPRequestHandler):
    """Answers each message with the next of `statuses`, and keeps it."""

    statuses: list[int]
    heard: list[tuple[str, str]]

    def do_POST(self) -> None:
        text = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["text"]
        self.heard.append((self.headers["Idempotency-Key"], text))
        self.send_response(self.statuses.pop(0))
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Print nothing."""


@pytest.fixture
def chat() -> Iterator[ThreadingHTTPServer]:
    Chat.statuses, Chat.heard = [200, 429, 404], []
    with ThreadingHTTPServer(("127.0.0.1", 0), Chat) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.mark.once
def test_receivers_md__shows_receivers_that_do_what_it_says(tmp_path, chat):
    mails = tmp_path / "mails"
    settings = (
        'ADMINS = [("Ann", "ann@example.com")]\n'
        'globals().pop("MAILERS", None)\n'  # Django 6.1 takes either it or these
        'EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"\n'
        f'EMAIL_FILE_PATH = "{mails}"\n'
    )
    new_site(tmp_path, ["quickstart.md", "receivers.md"], settings)
    environment = {**ENVIRONMENT, "CHAT_URL": f"http://127.0.0.1:{chat.server_port}"}
    unstarted = Site(environment=running_environment("", ENVIRONMENT), folder=tmp_path)
    unstarted.manage("makemigrations", "scores", "-v0")
    unstarted.manage("migrate", "-v0")
    unstarted.manage("test")
    with running_site(SERVER, "", environment, folder=tmp_path) as site:
        site.manage("perfsee_send", "--url", site.url)
        for _ in range(2):
            site.manage("perfsee_send", "--event", "bundle:finished", "--url", site.url)
            site.wait_until_settled()
        bundles = "Delivery.objects.filter(event_type='bundle:finished').order_by('pk')"
        states = site.query(f"list({bundles}.values_list('state', flat=True))")
        assert states == "['succeeded', 'failed', 'dead']"
        others = "Delivery.objects.exclude(event_type='bundle:finished').order_by().distinct()"
        ran = site.query(f"list({others}.values_list('runs__receiver', 'state'))")
        assert ran == "[('scores.receivers.log_report', 'succeeded')]"
        assert site.query("Score.objects.values_list('name', 'score').get()") == "('main', 57.0)"
        delayed = f"{bundles}[1].next_attempt_at - {bundles}[1].received_at"
        assert site.query(f"50 < ({delayed}).total_seconds() < 90") == "True"
        ids = site.query(f"' '.join({bundles}.values_list('delivery_id', flat=True))").split()
        assert [key for key, _ in Chat.heard] == ids
    sent = "".join(path.read_text() for path in mails.iterdir())
    assert sent.count("Score 57") == 3
    assert sent.count("is dead") == 1
    assert "scores.receivers.tell_chat: GiveUp" in sent


@pytest.mark.parametrize("block", blocks_of(DOCS / "security.md", "python"), ids=str)
@pytest.mark.django_db
def test_security_md__shows_settings_that_pass_the_checks(block, settings):
    shown: dict[str, object] = {}
    exec(block.code, shown)  # noqa: S102  # it is the documentation's
    settings.PERFSEE_WEBHOOKS = shown["PERFSEE_WEBHOOKS"]
    call_command("check", tags=["perfsee_webhooks"], fail_level="WARNING")


def modules_under(heading: str) -> dict[str, str]:
    return modules_of([block for block in BLOCKS if block.heading == heading])


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


def test_replay_md__shows_commands_that_do_what_it_says(delivery, connect, capsys):
    receiver = connect(bundle_finished)
    lines = [block.code.strip() for block in blocks_of(DOCS / "replay.md", "console")]
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
    (code,) = (block.code for block in blocks_of(DOCS / "replay.md", "python"))
    exec(code, {})  # noqa: S102  # it is the documentation's
    assert capsys.readouterr().out == "1 deliveries, 0 runs, 0 of them after success\n"
    assert receiver.call_count == 1
    delivery.refresh_from_db()
    assert delivery.state == "succeeded"


def test_admin_md__shows_commands_that_do_what_it_says(db, settings, capsys):
    settings.ALLOWED_HOSTS = ["hooks.example.com"]
    lines = [block.code.strip() for block in blocks_of(DOCS / "admin.md", "console")]
    assert len(lines) == 2
    for line in lines:
        _python, _manage, *arguments = shlex.split(line)
        call_command(*arguments)
    printed = capsys.readouterr().out
    assert printed.count("A signed delivery to hooks.example.com was verified and stored") == 2

"""Follows the README as a newcomer would: every command and every block of code in it is run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from perfsee_webhooks.conf import DEFAULTS

from .documents import README, blocks_of, modules_of
from .sites import ROOT, SECRET, Site, running_site

COMMANDS = [words for block in blocks_of(README, "console") for words in block.commands]
MODULES = modules_of(blocks_of(README))


@pytest.fixture
def newcomer(tmp_path: Path, db: None) -> Iterator[Site]:
    """A site as `startproject` makes it, with what the README says added, on a real server."""
    subprocess.run([sys.executable, "-m", "django", "startproject", "mysite", tmp_path], check=True)
    package = tmp_path / "mysite"
    for name in ("settings.py", "urls.py"):
        with (package / name).open("a") as module:
            module.write(MODULES[name])
    with (package / "settings.py").open("a") as module:
        module.write('INSTALLED_APPS += ["mysite"]\nLOGGING = {"version": 1, "loggers": ')
        module.write('{"mysite": {"handlers": ["console"], "level": "INFO"}}, "handlers": ')
        module.write('{"console": {"class": "logging.StreamHandler"}}}\n')
    (package / "receivers.py").write_text(MODULES["receivers.py"])
    (package / "apps.py").write_text(
        "from django.apps import AppConfig\n\n\nclass MySite(AppConfig):\n    name = 'mysite'\n\n"
        "    def ready(self):\n        from . import receivers\n"
    )
    server = ("gunicorn", "--no-control-socket", "--bind=127.0.0.1:0", "mysite.wsgi")
    environment = {"DJANGO_SETTINGS_MODULE": "mysite.settings", "PERFSEE_SECRET": SECRET}
    Site(environment={**os.environ, **environment}, folder=tmp_path).manage("migrate", "-v0")
    with running_site(server, "", environment, folder=tmp_path) as site:
        yield site


def test_readme__leads_to_a_first_delivery(newcomer):
    newcomer.manage("check")
    sent = newcomer.manage("perfsee_send", "--url", newcomer.url)
    assert re.findall(r"^204", sent, re.MULTILINE) == ["204"] * 4
    newcomer.wait_until_settled()
    assert newcomer.manage("perfsee_sweep") == "Nothing is overdue.\n"
    assert "error" not in newcomer.manage("perfsee_doctor")
    assert "0 deliveries would be run again" in newcomer.manage("perfsee_replay", "--state", "dead")
    printed = "".join(newcomer.printed)
    assert "main on feat/webhook scores 57" in printed
    assert "perfsee: Home on Mobile 4G completed" in printed


def test_readme__names_only_commands_that_are_tested():
    assert [" ".join(words) for words in COMMANDS] == [
        "python -m pip install django-perfsee-webhooks",
        "python manage.py migrate",
        "python manage.py perfsee_send",
        "python manage.py perfsee_sweep --watch 10",
        "python manage.py perfsee_doctor",
        "python manage.py perfsee_replay --state dead",
        "make demo",
        "make test",
    ]
    run_by_ci = (ROOT / ".ci" / "run").read_text()
    assert "make demo" in run_by_ci
    assert "make test" in run_by_ci


def test_readme__shows_each_block_in_a_module_of_the_newcomer():
    assert MODULES.keys() == {"settings.py", "urls.py", "receivers.py"}


def test_readme__names_only_settings_that_exist():
    named = set(re.findall(r"`([A-Z]+_[A-Z_]+)`", README.read_text()))
    assert named <= {"PERFSEE_WEBHOOKS", *DEFAULTS}

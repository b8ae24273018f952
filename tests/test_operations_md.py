"""Runs what the page about operations shows, and compares its tables with the code."""

from __future__ import annotations

import json
import logging.config
import re
import sys
from dataclasses import fields
from datetime import timedelta
from types import ModuleType
from typing import Any

import pytest
from django.utils import timezone

from perfsee_webhooks import log
from perfsee_webhooks.health import PerfseeWebhooks
from perfsee_webhooks.prometheus import PerfseeCollector
from perfsee_webhooks.stats import Stats

from .documents import DOCS, blocks_of
from .figures import came

PAGE = DOCS / "operations.md"
TEXT = PAGE.read_text()


def shown(heading: str, **names: Any) -> dict[str, Any]:
    """Run the Python under a heading, and return what it defines."""
    for block in blocks_of(PAGE, "python"):
        if block.heading == heading:
            exec(block.code, names)  # noqa: S102  # it is the documentation's
    return names


def table_under(heading: str) -> list[str]:
    """Return the first column of the table under a heading, each name in it on its own."""
    section = TEXT.split(f"## {heading}\n")[1].split("\n## ")[0]
    cells = re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
    return [name for cell in cells for name in re.findall(r"`(\w+)`", cell)]


@pytest.mark.django_db
def test_operations_md__asks_for_the_stats(capsys):
    due_at = timezone.now() - timedelta(minutes=1)
    came(due_at, "received", next_attempt_at=due_at)
    shown("Numbers")
    printed = capsys.readouterr().out
    assert printed.startswith("1 wait, 0 are dead, 1 are overdue.\nOne has been due for 6")


def test_operations_md__describes_each_of_the_stats():
    assert sorted(table_under("Numbers")) == sorted(
        ["waiting", *(field.name for field in fields(Stats))]
    )


@pytest.mark.django_db(transaction=True)
def test_operations_md__checks_the_health(client, settings):
    urls: Any = ModuleType("urls_of_operations_md")
    site = shown("Health check", urlpatterns=[], INSTALLED_APPS=[])
    assert site["INSTALLED_APPS"] == ["health_check"]
    urls.urlpatterns = site["urlpatterns"]
    settings.ROOT_URLCONF = urls
    answer = client.get("/health/", {"format": "json"})
    assert list(answer.json().values()) == ["OK", "OK"]
    assert [name for name in answer.json() if "max_wait=datetime.timedelta(seconds=300)" in name]


def test_operations_md__describes_each_option_of_the_check():
    assert table_under("Health check") == [field.name for field in fields(PerfseeWebhooks)]


@pytest.mark.django_db
def test_operations_md__serves_metrics(rf):
    answer = shown("Prometheus")["metrics"](rf.get("/metrics"))
    assert answer["Content-Type"].startswith("text/plain")
    assert b"\nperfsee_webhooks_up 1.0\n" in answer.content


def test_operations_md__alerts_on_metrics_that_there_are():
    (rules,) = [block.code for block in blocks_of(PAGE, "yaml") if "groups:" in block.code]
    named = set(re.findall(r"perfsee_webhooks_\w+", rules))
    assert len(named) > 5
    assert named <= {family.name for family in PerfseeCollector().describe()}
    alerts = re.findall(r"alert: (\w+)", rules)
    assert set(table_under("What to alert on")) == set(alerts) - {"PerfseeNotMeasured"}


@pytest.fixture
def _logging_as_it_was():
    logger = logging.getLogger("perfsee_webhooks")
    handlers, level = logger.handlers, logger.level
    yield
    logger.handlers = handlers
    logger.setLevel(level)


@pytest.mark.usefixtures("_logging_as_it_was")
def test_operations_md__logs_lines_of_json(monkeypatch, capsys):
    logs: Any = ModuleType("mysite.logs")
    names = shown("Logging")
    logs.JSONFormatter = names["JSONFormatter"]
    package: Any = ModuleType("mysite")
    package.logs = logs
    monkeypatch.setitem(sys.modules, "mysite", package)
    monkeypatch.setitem(sys.modules, "mysite.logs", logs)
    logging.config.dictConfig(names["LOGGING"])
    logging.getLogger("perfsee_webhooks.tests").error(
        "It broke.", exc_info=RuntimeError("a\nforged line"), extra=log.ids(delivery_id="one\ntwo")
    )
    (line,) = capsys.readouterr().err.splitlines()
    written = json.loads(line)
    assert written["message"] == "It broke."
    assert written["perfsee_delivery_id"] == "one\ufffdtwo"
    assert written["traceback"].endswith("RuntimeError: a\nforged line")


def test_operations_md__names_ids_that_are_logged():
    sources = "".join(path.read_text() for path in (DOCS.parent / "perfsee_webhooks").rglob("*.py"))
    described = TEXT.split("\n## Logging\n")[1].split("| level |")[0]
    named = re.findall(r"`perfsee_([a-z_]+)`", described)
    assert len(named) > 5
    assert [name for name in named if not re.search(rf"\b{name}=", sources)] == []

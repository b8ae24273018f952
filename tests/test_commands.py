"""What all commands hold: examples that work, exit statuses in the help, and a typed handle."""

from __future__ import annotations

import inspect
import re
import shlex
from importlib import import_module
from pkgutil import iter_modules

import pytest
from django.core.management import CommandError, load_command_class

from perfsee_webhooks.management import commands
from perfsee_webhooks.management.documented import DocumentedCommand

NAMES = [module.name for module in iter_modules(commands.__path__)]


def parser_of(name):
    return load_command_class("perfsee_webhooks", name).create_parser("manage.py", name)


def section(name, title):
    """Return the lines below a title at the end of the help."""
    help_text = parser_of(name).format_help()
    found = re.search(rf"^{title}:\n((?:  .*\n)+)", help_text, re.MULTILINE)
    assert found, help_text
    return [line.strip() for line in found[1].splitlines()]


def test_commands__are_all_walked():
    assert {"perfsee_send", "perfsee_tail", "perfsee_export", "perfsee_prune"} <= {*NAMES}
    assert all(name.startswith("perfsee_") for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_help__shows_examples_that_the_command_takes(name):
    for example in section(name, "Examples"):
        words = shlex.split(re.split(r" [>|] ", example)[0])
        assert words[:2] == ["manage.py", name]
        parser_of(name).parse_args(words[2:])


def test_help__an_example_with_a_mistake_would_be_found():
    with pytest.raises(CommandError, match="unrecognized arguments: --nothing"):
        parser_of("perfsee_tail").parse_args(["--nothing"])


@pytest.mark.parametrize("name", NAMES)
def test_help__says_what_each_exit_status_means(name):
    statuses = [line.split("  ")[0] for line in section(name, "Exit statuses")]
    assert statuses == ["0", "1", "2"]


@pytest.mark.parametrize("name", NAMES)
def test_help__fits_a_terminal(name, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert max(map(len, parser_of(name).format_help().splitlines())) <= 100


@pytest.mark.parametrize("name", NAMES)
def test_handle__takes_keywords_that_have_a_type(name):
    command = import_module(f"perfsee_webhooks.management.commands.{name}").Command
    assert issubclass(command, DocumentedCommand)
    _self, *parameters = inspect.signature(command.handle).parameters.values()
    assert {parameter.kind for parameter in parameters} <= {
        inspect.Parameter.KEYWORD_ONLY,
        inspect.Parameter.VAR_KEYWORD,
    }
    assert all(parameter.annotation is not inspect.Parameter.empty for parameter in parameters)
    declared = {action.dest for action in parser_of(name)._actions}
    keywords = {p.name for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}
    assert keywords <= declared

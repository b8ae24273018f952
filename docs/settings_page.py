"""Writes `settings.md` from the code: the keys, their defaults, and what the checks say of them.

`python docs/settings_page.py`; `make docs` does it, and a test holds that the page is up to date.
"""

from __future__ import annotations

import ast
import os
import re
import sys
from collections.abc import Iterator, Mapping
from datetime import timedelta
from inspect import cleandoc
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PAGE = HERE / "settings.md"
sys.path.insert(0, str(HERE.parent))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.settings")

import django  # noqa: E402  # the path comes first

django.setup()

from perfsee_webhooks import checks, conf  # noqa: E402  # the apps come first
from perfsee_webhooks.checks.setting import _RULES  # noqa: E402  # what a value has to be

INTRODUCTION = """\
<!-- Written by settings_page.py: do not edit this page, but perfsee_webhooks/conf.py. -->

# Settings

All of them are keys of one dict, `PERFSEE_WEBHOOKS`. They are read each time that they are needed,
so that `override_settings` works in tests. `python manage.py check` tells of each mistake.

```python
# settings.py
import os

PERFSEE_WEBHOOKS = {
    "SECRETS": [os.environ["PERFSEE_SECRET"]],
    "PERFSEE_URL": "https://perfsee.example.com",
}
```
"""

SQLITE = """\
## SQLite

Give a SQLite database the options that let several processes write at once, and that make a 204 a
promise:

```python
# settings.py
from perfsee_webhooks.conf import SQLITE_OPTIONS

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": "db.sqlite3",
        "OPTIONS": dict(SQLITE_OPTIONS),
    }
}
```
"""

CHECKS = """\
## What the checks say

An error ends `python manage.py check` and `migrate`; a warning is shown. To silence one, list its
id in Django's `SILENCED_SYSTEM_CHECKS`.

| id | what it says | what to do |
|---|---|---|
"""


def page() -> str:
    """Return the text of the page."""
    keys = "\n".join(section_of(key) for key in conf.DEFAULTS)
    return f"{INTRODUCTION}\n{keys}\n{SQLITE}\n{CHECKS}{checks_table()}"


def section_of(key: str) -> str:
    """Return what the page says of a key: the docstring of its property, rule and default."""
    described = cleandoc(getattr(conf.WebhookSettings, key.lower()).__doc__)
    rule = f"It is {_RULES[key].expected}. " if key in _RULES else ""
    return f"## `{key}`\n\n{described}\n\n{rule}Default: `{default_of(key)}`.\n"


def default_of(key: str) -> str:
    """Return the default of a key as one writes it in a module of settings."""
    default: Any = conf.DEFAULTS[key]
    match default:
        case tuple():
            return str(list(default))
        case Mapping():
            return str(dict(default))
        case timedelta():
            minutes, seconds = divmod(int(default.total_seconds()), 60)
            return f"timedelta(seconds={seconds})" if seconds else f"timedelta(minutes={minutes})"
        case int() if default and default % 1024**2 == 0:
            return f"{default // 1024**2} * 1024 * 1024"
        case str():
            return f'"{default}"'
        case _:
            return repr(default)


def checks_table() -> str:
    """Return a row for each message of the system checks, in the order of their ids."""
    rows = {
        row for module in sorted(Path(checks.__path__[0]).glob("*.py")) for row in _rows(module)
    }
    return "".join(f"| `{key}` | {says} | {hint} |\n" for key, says, hint in sorted(rows))


def _rows(module: Path) -> Iterator[tuple[str, str, str]]:
    for node in ast.walk(ast.parse(module.read_bytes())):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("Error", "Warning"):
            given = {keyword.arg: keyword.value for keyword in node.keywords}
            yield _text(given["id"]), _escaped(node.args[0]), _escaped(given["hint"])


def _text(node: ast.expr) -> str:
    """Return a text of the code, with … for what is known when it is shown alone."""
    match node:
        case ast.Constant():
            return str(node.value)
        case ast.JoinedStr():
            return "".join(map(_text, node.values))
        case ast.BinOp():
            return _text(node.left) + _text(node.right)
        case _:
            return "…"


def _escaped(node: ast.expr) -> str:
    return re.sub(r"([*<>|\\`])", r"\\\1", _text(node))


if __name__ == "__main__":
    PAGE.write_text(page())

"""How Sphinx builds the documentation. Nothing in the pages is loaded from another host."""

from __future__ import annotations

import os
import re
import sys
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any, ClassVar

import django
from django.db import models
from docutils import nodes  # type: ignore[import-untyped]  # it has no types
from pygments.lexers.shell import BashLexer  # type: ignore[import-untyped]  # it has none either
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.settings")
django.setup()

project = "django-perfsee-webhooks"
author = "the authors of django-perfsee-webhooks"
release = version = version_of(project)

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
]

myst_heading_anchors = 3
myst_fence_as_directive = ["mermaid"]

# The site that the reader has started, which nobody else sees.
linkcheck_ignore = [r"http://127\.0\.0\.1:8000/"]

html_theme = "furo"
# The theme's own underlines names of classes and modules, as if they were links.
pygments_dark_style = "github-dark"
html_title = project
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_copy_source = False
html_show_copyright = False

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False

# What stands in signatures and is described elsewhere: the standard library, Django, and what the
# package keeps to itself. The inventories of those sites would have to be loaded from them.
nitpick_ignore_regex = [
    (r"py:.*", r"(?!perfsee_webhooks).*"),
    (r"py:.*", r"perfsee_webhooks\.(.*\.)?_.*"),
    (r"py:.*", r"perfsee_webhooks\.models\.arrivals\..*"),
]


class StateDiagram(SphinxDirective):
    """A `mermaid` block, drawn beforehand: GitHub draws it with a script of another host.

    `tests/test_docs.py` holds that the drawing shows what the block says.
    """

    has_content = True
    drawing: ClassVar[Path] = HERE / "images" / "states.svg"

    def run(self) -> list[nodes.Node]:
        """Return the drawing as part of the page, so that it takes the colours of its theme."""
        drawing = f'<div class="drawing" tabindex="0" role="group">{self.drawing.read_text()}</div>'
        return [nodes.raw("", drawing, format="html")]


# `this` is code to whoever reads the source.
_CODE = re.compile(r"(?<!`)`([^`]+)`(?!`)")
# `name: what it is`, which may go on in indented lines.
_ENTRY = re.compile(r"^([a-z_]+(?:, [a-z_]+)*): +(\S.*)$")


def adapt_docstring(
    app: Sphinx, what: str, name: str, documented: Any, options: Any, lines: list[str]
) -> None:
    """Make a docstring, which is written for who reads the source, one for the page.

    Code is marked as such, and a list of names and what each is becomes a list. Of a model its
    fields are added, with what they say of themselves.
    """
    # Napoleon takes what stands before a colon in the first line of an attribute for its type: so
    # the first line is an escaped space, which is nothing.
    written = ["\\ "] if what in ("attribute", "data", "property") else []
    is_in_list = False
    for line in (_CODE.sub(r"``\1``", line) for line in lines):
        entry = _ENTRY.match(line)
        if entry:
            names = ", ".join(f"``{one}``" for one in entry[1].split(", "))
            written += ["", f"* {names}: {entry[2]}"]
            is_in_list = True
        elif is_in_list and line.startswith(" "):
            written.append(f"  {line.strip()}")
        else:
            written += ["", line] if is_in_list else [line]
            is_in_list = False
    if isinstance(documented, type) and issubclass(documented, models.Model):
        written += ["", *_fields_of(documented)]
    lines[:] = written


def _fields_of(model: type[models.Model]) -> list[str]:
    fields = [field for field in model._meta.concrete_fields if not field.primary_key]
    return [f"* ``{field.name}``: {field.help_text}" for field in fields if field.help_text]


def setup(app: Sphinx) -> None:
    """Add the directive and the hook of this file, and have commands shown without a prompt."""
    app.add_lexer("console", BashLexer)
    app.add_directive("mermaid", StateDiagram)
    app.connect("autodoc-process-docstring", adapt_docstring, priority=400)

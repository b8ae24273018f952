"""The documentation as a reader finds it: its pages, and the blocks of code in them."""

from __future__ import annotations

import re
import shlex
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .sites import ROOT

DOCS = ROOT / "docs"
README = ROOT / "README.md"
PAGES = (README, ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md")))

_FENCE = re.compile(r"^( *)(`{3,})([^\n`]*)\n(.*?)^\1\2$", re.DOTALL | re.MULTILINE)
_FILE = re.compile(r"# ([\w/]+\.py)")
_VARIABLE = re.compile(r"[A-Z_]+=.*")


@dataclass(frozen=True, kw_only=True)
class Block:
    """A block of code: the page and the heading that it stands under, and where."""

    page: Path
    heading: str
    line: int
    language: str
    code: str

    @property
    def file(self) -> str:
        """The file that the block belongs in, as its first line says; empty if it does not."""
        named = _FILE.fullmatch(self.code.partition("\n")[0])
        return named[1] if named else ""

    @property
    def commands(self) -> list[list[str]]:
        """The words of each command of a shell, without variables that are set for it."""
        lines = self.code.replace("\\\n", " ").splitlines()
        return [words for line in lines if (words := _words(line))]

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks_of(page: Path, language: str = "") -> list[Block]:
    """Return the blocks of a page in their order, of one language or of any."""
    return [block for block in _blocks(page) if language in ("", block.language)]


def _blocks(page: Path) -> Iterator[Block]:
    text = page.read_text()
    for fence in _FENCE.finditer(text):
        before = text[: fence.start()]
        yield Block(
            page=page,
            heading=["", *re.findall(r"^##? (.*)$", _FENCE.sub("", before), re.MULTILINE)][-1],
            line=before.count("\n") + 1,
            language=fence[3].strip(),
            code=textwrap.dedent(fence[4]),
        )


def modules_of(blocks: list[Block]) -> dict[str, str]:
    """Return the modules that blocks of Python make up, each as it comes to be from its blocks."""
    modules: dict[str, str] = {}
    for block in blocks:
        if block.language == "python" and block.file:
            modules[block.file] = modules.get(block.file, "") + block.code
    return modules


def _words(line: str) -> list[str]:
    words = shlex.split(line, comments=True)
    while words and _VARIABLE.fullmatch(words[0]):
        words.pop(0)
    return words


def anchors_of(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub and MyST make them."""
    prose = _FENCE.sub("", page.read_text())
    headings = re.findall(r"^#+ (.*)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in headings}


def links_of(page: Path) -> list[str]:
    """Return what a page links to within the repository, and the pictures that it shows."""
    return re.findall(r"\]\(((?!https?:)[^)\s]+)\)", _FENCE.sub("", page.read_text()))

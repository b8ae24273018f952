"""The bytes and the headers of a request, as a page shows them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from django.template.defaultfilters import filesizeformat

from ..envelope import parse_body
from ..text import lines, pretty_json

MAX_SHOWN_BYTES: Final = 256 * 1024
_MAX_INDENTATION: Final = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A request on a page: the text of its body, what is to be said of that, its headers."""

    body: str
    note: str
    headers: list[tuple[str, str]]

    @classmethod
    def read(cls, body: bytes, headers: Mapping[str, str], *, cut_from: int = 0) -> Self:
        """Return what is shown of a request; `cut_from` is the size of a body that was cut."""
        text, note = _shown(body)
        if cut_from > len(body):
            note = f"Only its first {filesizeformat(len(body))} are kept, since nobody signed it."
        return cls(body=text, note=note, headers=sorted(headers.items()))


def _shown(body: bytes) -> tuple[str, str]:
    """Return the text of a body, indented if that can be, and a note where it is not all of it."""
    if not body:
        return "", "No bytes are kept: it was empty, or its bytes have been pruned."
    if len(body) > MAX_SHOWN_BYTES:
        return _as_text(body[:MAX_SHOWN_BYTES]), f"Its first {filesizeformat(MAX_SHOWN_BYTES)}."
    try:
        value = parse_body(body).raw
        if _indentation(value) <= _MAX_INDENTATION:
            return pretty_json(value), ""
    except ValueError:
        return _as_text(body), "It is not a JSON object: shown as it came."
    except RecursionError:
        pass
    return _as_text(body), "It is nested too deeply to be indented: shown as it came."


def _as_text(body: bytes) -> str:
    return lines(body.decode(errors="replace"), MAX_SHOWN_BYTES)


def _indentation(value: Any, depth: int = 1) -> int:
    """Return how many spaces it takes to indent a value: few bytes can ask for very many."""
    items = value.values() if isinstance(value, Mapping) else value
    if not isinstance(value, Mapping | list):
        return 0
    return sum(2 * depth + _indentation(item, depth + 1) for item in items)

"""JSON as nested parts that a reader can fold, coloured by kind, which works without a script."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Self

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from ..text import pretty_json

_INDENTATION: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How large a value gets once it is written: few bytes can ask for very many."""

    depth: int
    parts: int
    spaces: int

    @classmethod
    def of(cls, value: Any) -> Self:
        """Measure a value of any depth: its levels, the values in it, the spaces to indent it."""
        depth = parts = spaces = 0
        left = [(value, 0)]
        while left:
            part, level = left.pop()
            depth, parts, spaces = max(depth, level), parts + 1, spaces + _INDENTATION * level
            inner = part.values() if isinstance(part, dict) else part
            if isinstance(inner, str) or not isinstance(part, dict | list):
                continue
            left += [(item, level + 1) for item in inner]
        return cls(depth=depth, parts=parts, spaces=spaces)


def foldable(value: Any) -> SafeString:
    """Return a JSON value as HTML whose text is that of `pretty_json`, to the letter.

    The caller has measured it: it recurses for each level, and writes about 100 bytes of markup
    for each part.
    """
    return format_html_join("", "{}", ((piece,) for piece in _written(value, SafeString(), 0, "")))


def _written(value: Any, label: SafeString, level: int, end: str) -> Iterator[SafeString]:
    indentation = " " * (_INDENTATION * level)
    if not isinstance(value, dict | list) or not value:
        kind = _kind(value)
        yield format_html(
            '{}{}<span class="perfsee-{}">{}</span>{}',
            indentation,
            label,
            kind,
            pretty_json(value),
            end,
        )
        return
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    # The line end is hidden where it is folded: what is copied has it all the same.
    yield format_html(
        '<details open><summary>{}{}{}<span class="perfsee-size" data-size="{} {}">\n</span>'
        "</summary>",
        indentation,
        label,
        opening,
        _size(value),
        closing,
    )
    last = len(value) - 1
    for number, (name, item) in enumerate(_labelled(value)):
        yield from _written(item, name, level + 1, ",\n" if number < last else "\n")
    yield format_html("{}{}{}</details>", indentation, closing, end)


def _labelled(value: dict[str, Any] | list[Any]) -> Iterator[tuple[SafeString, Any]]:
    if isinstance(value, list):
        yield from ((SafeString(), item) for item in value)
        return
    for key, item in value.items():
        yield format_html('<span class="perfsee-key">{}</span>: ', pretty_json(key)), item


def _size(value: dict[str, Any] | list[Any]) -> str:
    unit = "member" if isinstance(value, dict) else "item"
    return f"{len(value)} {unit}{'' if len(value) == 1 else 's'}"


def _kind(value: Any) -> str:
    match value:
        case str():
            return "string"
        case bool():
            return "boolean"
        case None:
            return "null"
        case int() | float():
            return "number"
        case _:
            return "empty"

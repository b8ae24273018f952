"""The bytes and the headers of a request, as a page shows them."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final, Self

from django.template.defaultfilters import filesizeformat

from ..envelope import SIGNATURE_HEADER, parse_body
from ..signatures import SCHEME
from ..text import lines, pretty_json
from .json_tree import Shape, foldable

WITHHELD: Final = "To see it takes the permission “Can view the body of deliveries”."
MAX_SHOWN_BYTES: Final = 256 * 1024
MAX_FOLDABLE_PARTS: Final = 5000
_MAX_DEPTH: Final = 100
_MAX_INDENTATION: Final = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A request on a page: its body as text, what is to be said of that, its headers.

    `is_indented` says whether the text was made easier to read than it came. `tree` is the same
    text with parts that fold, empty where `body` has to do. `exact` is the Base64 of the bytes,
    empty where they are no text or too many to be copied from a page.
    """

    body: str
    note: str = ""
    is_indented: bool = False
    tree: str = ""
    exact: str = ""
    headers: tuple[tuple[str, str], ...] = ()

    @classmethod
    def read(cls, body: bytes, headers: Mapping[str, str], *, cut_from: int = 0) -> Self:
        """Return what is shown of a request; `cut_from` is the size of a body that was cut."""
        shown = replace(
            cls._shown(body), exact=_exact(body), headers=tuple(_without_signature(headers))
        )
        if cut_from > len(body):
            note = f"Only its first {filesizeformat(len(body))} are kept, since nobody signed it."
            return replace(shown, note=note)
        return shown

    @classmethod
    def withheld(cls, headers: Mapping[str, str]) -> Self:
        """Return what is shown to somebody who may not see the body."""
        return cls(body="", note=WITHHELD, headers=tuple(_without_signature(headers)))

    @classmethod
    def _shown(cls, body: bytes) -> Self:
        """Show a body, indented if that can be, with a note where it is not or not all of it."""
        if not body:
            note = "No bytes are kept: it was empty, or its bytes have been pruned."
            return cls(body="", note=note)
        if len(body) > MAX_SHOWN_BYTES:
            note = f"Its first {filesizeformat(MAX_SHOWN_BYTES)}."
            return cls(body=_as_text(body[:MAX_SHOWN_BYTES]), note=note)
        try:
            value = parse_body(body).raw
        except ValueError:
            return cls(body=_as_text(body), note="It is not a JSON object: shown as it came.")
        shape = Shape.of(value)
        if shape.depth > _MAX_DEPTH or shape.spaces > _MAX_INDENTATION:
            note = "It is nested too deeply to be indented: shown as it came."
            return cls(body=_as_text(body), note=note)
        if shape.parts > MAX_FOLDABLE_PARTS:
            note = f"It has more than {MAX_FOLDABLE_PARTS} parts: shown without folds."
            return cls(body=pretty_json(value), note=note, is_indented=True)
        return cls(body=pretty_json(value), tree=foldable(value), is_indented=True)


def _as_text(body: bytes) -> str:
    return lines(body.decode(errors="replace"), MAX_SHOWN_BYTES)


def _exact(body: bytes) -> str:
    if len(body) > MAX_SHOWN_BYTES:
        return ""
    try:
        body.decode()
    except UnicodeDecodeError:
        return ""
    return base64.b64encode(body).decode()


def _without_signature(headers: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the headers by name. A signature is a secret: with it the body could be sent again."""
    for name, value in sorted(headers.items()):
        is_signature = name.lower() == SIGNATURE_HEADER.lower()
        scheme = SCHEME if value.startswith(SCHEME) else ""
        yield name, f"{scheme}… (not shown)" if is_signature else value

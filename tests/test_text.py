from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfsee_webhooks.text import lines, one_line, pretty_json

from .strategies import ANY_JSON, TEXT, is_storable

UNFIT = {
    "nul": "\x00",
    "escape": "\x1b",
    "delete": "\x7f",
    "c1 control": "\x9b",
    "high surrogate": "\ud83d",
    "low surrogate": "\udd11",
    "line separator": "\u2028",
    "override": "\u202e",
    "isolate": "\u2066",
}


@pytest.mark.parametrize("character", UNFIT.values(), ids=UNFIT)
@pytest.mark.parametrize("shorten", [one_line, lines])
def test_one_line_and_lines__unfit_character_replaced(shorten, character):
    assert shorten(f"a{character}b", 10) == "a\N{REPLACEMENT CHARACTER}b"


@pytest.mark.parametrize("text", ["", "main", "中文 🚀 é", "a b"])
@pytest.mark.parametrize("shorten", [one_line, lines])
def test_one_line_and_lines__fit_text_unchanged(shorten, text):
    assert shorten(text, len(text) or 1) == text


@pytest.mark.parametrize("character", ["\n", "\t", "\r"], ids=["line feed", "tab", "return"])
def test_one_line__line_ends_and_tabs_replaced(character):
    assert one_line(f"a{character}b", 10) == "a\N{REPLACEMENT CHARACTER}b"


def test_lines__line_ends_and_tabs_kept():
    assert lines("a\n\tb", 10) == "a\n\tb"


def test_lines__crlf_is_a_line_end():
    assert "\N{REPLACEMENT CHARACTER}" not in lines("a\r\nb", 10)


def test_one_line__long_text_loses_its_end():
    assert one_line("abcdef", 5) == "abcd…"


def test_lines__long_text_loses_its_beginning():
    assert lines("abcdef", 5) == "…cdef"


@given(text=TEXT, max_length=st.integers(1, 50))
def test_one_line__always_storable_printable_and_short(text, max_length):
    line = one_line(text, max_length)
    assert is_storable(line, max_length)
    assert line.splitlines() in ([], [line])
    assert not any(unicodedata.category(character) in ("Cc", "Cs") for character in line)
    assert one_line(line, max_length) == line


@given(text=TEXT, max_length=st.integers(1, 50))
def test_lines__always_storable_and_short(text, max_length):
    written = lines(text, max_length)
    assert is_storable(written, max_length)
    assert not {"\x1b", "\u202e"} & set(written)
    assert lines(written, max_length) == written


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ({"a": ["é"]}, '{\n  "a": [\n    "é"\n  ]\n}'),
        ("\x00", '"\\u0000"'),
        ("\x7f\x9b", '"\\u007f\\u009b"'),
        ("\ud83d", '"\\ud83d"'),
        ("\u202e", '"\\u202e"'),
        ("\\\u202e", '"\\\\\\u202e"'),
    ],
    ids=["indented", "nul", "control", "surrogate", "direction", "after a backslash"],
)
def test_pretty_json__unfit_characters_escaped(value, written):
    assert pretty_json(value) == written


@given(value=ANY_JSON)
def test_pretty_json__reads_back_as_it_was(value):
    sent = json.dumps(value)
    pretty = pretty_json(json.loads(sent))
    assert is_storable(pretty, max_length=len(pretty))
    assert json.dumps(json.loads(pretty)) == json.dumps(json.loads(sent))


def test_pretty_json__too_deep_raises_recursion_error():
    value: list[object] = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(RecursionError):
        pretty_json(value)

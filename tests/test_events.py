from __future__ import annotations

import re

import pytest
from hypothesis import given

from perfsee_webhooks import events

from .strategies import TEXT

LITERALS = [r"abc.?!\()", "a+b", "[a]", "a|b", "^a$", "a{2}", r"a\d"]


@pytest.mark.parametrize("name", events.KNOWN)
def test_canonical__known_name_with_dashes_or_colons(name):
    assert events.canonical(name) == name
    assert events.canonical(name.replace(":", "-")) == name
    assert events.canonical(name.replace("-", ":")) == name


@pytest.mark.parametrize("name", ["bundle:started", "bundle-started", "", "Bundle:finished", "\n"])
def test_canonical__unknown_name_unchanged(name):
    assert events.canonical(name) == name


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        ("*", ["bundle:finished", "anything", ""], []),
        ("bundle:*", ["bundle:finished", "bundle:"], ["lab:finished", "my-bundle:finished"]),
        ("bundle:*,lab:*", ["bundle:a", "lab:a"], ["source:a", "lab"]),
        (" bundle:* ,\tlab:a\n", ["bundle:a", "lab:a"], [" bundle:a", "lab:a\n"]),
        (",bundle:a,,", ["bundle:a"], [""]),
        ("*:finished", ["bundle:finished", "source:finished"], ["bundle:finished-late"]),
        ("lab:*-completed", ["lab:snapshot-completed"], ["lab:snapshot"]),
        ("bundle:start", ["bundle:start"], ["bundle:end", "bundle:started", "a-bundle:start"]),
        ("bundle-finished", ["bundle:finished"], ["bundle-finished"]),
        ("abc.+", ["abc.+"], ["abcd", "abc.d", "abc"]),
        ("ab,abc", ["ab", "abc"], ["a", "abcd"]),
        (r"a\*", [r"a\b"], ["ab", "a*"]),
    ],
)
def test_compiled__perfsees_grammar(pattern, matching, other):
    compiled = events.compiled(pattern)
    assert [name for name in [*matching, *other] if compiled.fullmatch(name)] == matching


@pytest.mark.parametrize("name", LITERALS)
def test_compiled__metacharacters_are_literal(name):
    assert events.compiled(name).fullmatch(name)
    assert events.compiled(f"*{name}*").fullmatch(f"<{name}>")


@given(name=TEXT.filter(lambda name: name.strip() and not set(name) & set("*,")))
def test_compiled__a_name_matches_itself_alone(name):
    compiled = events.compiled(name)
    assert compiled.fullmatch(events.canonical(name.strip()))
    assert not compiled.fullmatch(name.strip() + "x")


def test_compiled__star_takes_line_ends_too():
    assert events.compiled("*").fullmatch("bundle\nfinished")


@pytest.mark.parametrize("pattern", ["", " ", ",", " , \t,"])
def test_compiled__no_name_at_all(pattern):
    with pytest.raises(ValueError, match=f"^{re.escape(repr(pattern))} names no event"):
        events.compiled(pattern)


def test_compiled__refuses_what_would_take_long_to_match():
    assert events.compiled("a*b*c**d,e*f*g*").fullmatch("exfyg")
    with pytest.raises(ValueError, match="has more than 3 times"):
        events.compiled("lab:*,a*b*c*d*")

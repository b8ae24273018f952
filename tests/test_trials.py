from __future__ import annotations

import base64
import hmac
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfsee_webhooks.conf import Secret
from perfsee_webhooks.diagnosis import trials
from perfsee_webhooks.diagnosis.trials import (
    EMPTY,
    KeyChange,
    Match,
    Notation,
    find_match,
    is_readable,
)
from perfsee_webhooks.samples import sample_body
from perfsee_webhooks.signatures import sign

from .strategies import TEXT

CANARY = "canary-secret"
SENT = sample_body("bundle:finished").replace(b'"feat/webhook"', '"feat/é🔑"'.encode())
LATIN = '{"eventType":"a:b","name":"Ünïcode"}'


def secret(key: str | bytes = CANARY, label: str = "SECRETS[0]") -> Secret:
    return Secret(label=label, key=key.encode() if isinstance(key, str) else key)


def found(*secrets: str, key: str = CANARY, sent: bytes = SENT, came: bytes | None = None) -> Match:
    """What is found of a signature made with `key` over what was sent, when `came` came."""
    known = [secret(text, f"SECRETS[{index}]") for index, text in enumerate(secrets)]
    match = find_match(sent if came is None else came, sign(sent, key), known)
    assert match is not None
    return match


EXACT = Match(secret=secret(), key_change=KeyChange.NONE, body_change="", notation=Notation.PERFSEE)


def test_find_match__tells_an_exact_one():
    assert found(CANARY) == EXACT
    assert EXACT.is_exact


def test_find_match__tells_which_secret_it_was():
    assert found("newest", CANARY).secret.label == "SECRETS[1]"


@pytest.mark.parametrize(
    ("set_here", "key", "change"),
    [
        (f" {CANARY}", CANARY, KeyChange.STRIPPED),
        (f"{CANARY}\n", CANARY, KeyChange.STRIPPED),
        (f"\t{CANARY}\r\n", CANARY, KeyChange.STRIPPED),
        (f"{CANARY}\u00a0", CANARY, KeyChange.STRIPPED),
        (f'"{CANARY}"', CANARY, KeyChange.UNQUOTED),
        (f"'{CANARY}'", CANARY, KeyChange.UNQUOTED),
        (f" “{CANARY} ”\n", CANARY, KeyChange.UNQUOTED),
        (CANARY, f"{CANARY}\n", KeyChange.WITH_LINE_END),
        (CANARY, f"{CANARY}\r\n", KeyChange.WITH_LINE_END),
        (f"{CANARY}\n", f"{CANARY}\r\n", KeyChange.WITH_LINE_END),
    ],
)
def test_find_match__finds_what_was_done_to_the_secret(set_here, key, change):
    match = found("other", set_here, key=key)
    assert match.key_change == change
    assert match.secret.label == "SECRETS[1]"
    assert not match.is_exact


@pytest.mark.parametrize("secrets", [(), (CANARY,), ("",), ('""',), (" ",), ("\n", CANARY)])
def test_find_match__finds_an_empty_secret_that_is_no_secret_of_the_site(secrets):
    assert found(*secrets, key="") == replace(EXACT, secret=EMPTY)


@pytest.mark.parametrize(
    ("came", "change"),
    [
        (json.dumps(json.loads(SENT)), "as JavaScript's JSON.stringify writes it"),
        (json.dumps(json.loads(SENT), indent=2), "as JavaScript's JSON.stringify writes it"),
        (
            json.dumps(json.loads(SENT), indent="\t", ensure_ascii=False) + "\r\n",
            "as JavaScript's JSON.stringify writes it",
        ),
        (SENT + b"\n", "without the white space at its end"),
        (SENT + b" \r\n", "without the white space at its end"),
        (b"\xef\xbb\xbf" + SENT, "without the byte order mark at its beginning"),
        (
            b"\xef\xbb\xbf" + SENT + b"\n",
            "without the byte order mark at its beginning and without the white space at its end",
        ),
        (SENT.decode().encode("utf-16"), "encoded as UTF-8 instead of utf-16"),
        (SENT.decode().encode("utf-16-le"), "encoded as UTF-8 instead of utf-16"),
        (SENT.decode().encode("utf-16-be"), "encoded as UTF-8 instead of utf-16-be"),
        (SENT.decode("latin-1"), "as it was before it was taken for latin-1"),
        (SENT.decode("cp1252"), "as it was before it was taken for cp1252"),
        (
            SENT.decode("latin-1") + "\n",
            "as it was before it was taken for latin-1 and without the white space at its end",
        ),
    ],
)
def test_find_match__finds_what_was_done_to_the_body(came, change):
    came = came.encode() if isinstance(came, str) else came
    assert found(CANARY, came=came) == replace(EXACT, body_change=change)


def test_find_match__finds_a_body_written_in_latin_1():
    match = found(CANARY, sent=LATIN.encode(), came=LATIN.encode("latin-1"))
    assert match.body_change == "encoded as UTF-8 instead of latin-1"


def test_find_match__finds_line_ends_that_were_rewritten():
    sent = b'{\n "a": 1.50\n}\n'
    match = found(CANARY, sent=sent, came=sent.replace(b"\n", b"\r\n"))
    assert match.body_change == "with LF instead of CRLF"


@pytest.mark.parametrize(
    ("text", "notation"),
    [
        ("sha256={hex}", Notation.PERFSEE),
        ("sha256={HEX}", Notation.PERFSEE),
        ("{hex}", Notation.NO_PREFIX),
        ("{HEX}", Notation.NO_PREFIX),
        ("SHA256={hex}", Notation.OTHER_PREFIX),
        ("sha256 = {hex}", Notation.OTHER_PREFIX),
        ("sha256={hex} ", Notation.OTHER_PREFIX),
        ("sha256={base64}", Notation.BASE64),
        ("{base64}", Notation.BASE64),
        ("{unpadded}", Notation.BASE64),
        ("{urlsafe}", Notation.BASE64),
    ],
)
def test_find_match__finds_another_notation(text, notation):
    # Of these digests one has a sign that the two alphabets of base64 write differently.
    for number in range(20):
        body = b"%d" % number
        digest = hmac.digest(CANARY.encode(), body, "sha256")
        standard = base64.b64encode(digest).decode()
        signature = text.format(
            hex=digest.hex(),
            HEX=digest.hex().upper(),
            base64=standard,
            unpadded=standard.rstrip("="),
            urlsafe=base64.urlsafe_b64encode(digest).decode(),
        )
        assert is_readable(signature)
        assert find_match(body, signature, [secret()]) == replace(EXACT, notation=notation)


@pytest.mark.parametrize(
    "signature",
    ["", " ", "sha256=", "nonsense", "sha1=" + "a" * 40, "sha256=" + "a" * 63, "é" * 64, "\x00",
     "sha256=" + "a" * 65, "a b", "=" * 44],
)  # fmt: skip
def test_find_match__takes_no_digest_from_what_is_none(signature):
    assert not is_readable(signature)
    assert find_match(SENT, signature, [secret()]) is None


def test_find_match__finds_two_changes_at_once():
    match = found(f" {CANARY} ", came=SENT + b"\n")
    assert (match.key_change, match.body_change) == (
        KeyChange.STRIPPED,
        "without the white space at its end",
    )


def test_find_match__prefers_the_plainest_explanation():
    assert found(f'"{CANARY}"', f"{CANARY}\n", CANARY).secret.label == "SECRETS[2]"


def test_find_match__finds_nothing_where_there_is_nothing():
    assert find_match(SENT, sign(SENT, "unknown"), [secret()]) is None
    assert find_match(SENT.replace(b"57", b"58"), sign(SENT, CANARY), [secret()]) is None


@pytest.mark.parametrize("came", [b"[" * 50_000, b'{"a":' * 900 + b"1" + b"}" * 900, b"\x00\xff"])
def test_find_match__survives_what_cannot_be_rewritten(came):
    assert find_match(came, sign(b"", CANARY), [secret()]) is None
    assert find_match(came, sign(came, CANARY), [secret()]) == EXACT


def test_find_match__tries_no_more_than_its_bound(monkeypatch):
    tried = []
    digest = hmac.digest

    def count(*arguments):
        tried.append(len(arguments[1]))
        return digest(*arguments)

    monkeypatch.setattr(hmac, "digest", count)
    claimed = "sha256=" + "0" * 64
    many = [secret(f'" {index} "', f"SECRETS[{index}]") for index in range(500)]
    assert find_match(SENT, claimed, many) is None
    assert len(tried) == trials.MAX_TRIALS
    tried.clear()
    large = json.dumps({"a": "é" * trials.MAX_REWRITTEN_BYTES}, ensure_ascii=False).encode()
    assert find_match(large, claimed, [secret()]) is None
    assert set(tried) == {len(large)}


def test_match__shows_no_secret():
    assert CANARY not in repr(EXACT)


KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40).filter(str.strip)
BODIES = st.binary(max_size=200) | st.dictionaries(
    st.text(max_size=9), st.text(max_size=9) | st.integers(), max_size=5
).map(lambda value: json.dumps(value, separators=(",", ":")).encode())


@given(BODIES, TEXT, st.lists(KEYS, max_size=3))
def test_find_match__never_raises(body, signature, keys):
    is_readable(signature)
    find_match(body, signature, [secret(key) for key in keys])


@given(
    KEYS.map(str.strip).filter(lambda key: key[:1] + key[-1:] not in trials._QUOTES),
    BODIES,
    st.sampled_from(["%s", " %s", "%s\n", "\t%s\r\n", '"%s"', "'%s'", ' "%s" ', "“%s”"]),
    st.sampled_from(["%s", "%s\n", "%s\r\n"]),
)
def test_find_match__finds_the_secret_for_each_change(key, body, set_here, in_perfsee):
    if "%s" not in (set_here, in_perfsee):
        in_perfsee = "%s"
    known = [secret("another"), secret(set_here.replace("%s", key), "mine")]
    match = find_match(body, sign(body, in_perfsee.replace("%s", key)), known)
    assert match is not None
    assert match.secret.label == "mine"


@given(BODIES, KEYS, st.sampled_from([b"%b\n", b"%b\r\n ", b"\xef\xbb\xbf%b"]))
def test_find_match__finds_the_body_for_each_change(body, key, change):
    body = body.strip()
    match = find_match(change % body, sign(body, key), [secret(key)])
    assert match is not None
    assert match.body_change

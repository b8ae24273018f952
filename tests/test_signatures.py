from __future__ import annotations

import json
from pathlib import Path

import pytest

from perfsee_webhooks.conf import Secret
from perfsee_webhooks.exceptions import MalformedSignature, MissingSignature, WrongSignature
from perfsee_webhooks.samples import sample_body
from perfsee_webhooks.signatures import sign, verify

# Signatures that Node's crypto made over the samples: no code of this project did.
VECTORS = json.loads((Path(__file__).parent / "vectors" / "signatures.json").read_bytes())

# RFC 4231, section 4: key, data, HMAC-SHA-256. Test case 5 is of a truncated digest.
RFC_4231 = {
    "case 1": (
        b"\x0b" * 20,
        b"Hi There",
        "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
    ),
    "case 2, a short key": (
        b"Jefe",
        b"what do ya want for nothing?",
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
    ),
    "case 3": (
        b"\xaa" * 20,
        b"\xdd" * 50,
        "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
    ),
    "case 4": (
        bytes(range(1, 26)),
        b"\xcd" * 50,
        "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
    ),
    "case 6, a key above a block": (
        b"\xaa" * 131,
        b"Test Using Larger Than Block-Size Key - Hash Key First",
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
    ),
    "case 7, key and data above a block": (
        b"\xaa" * 131,
        (
            b"This is a test using a larger than block-size key and a larger than block-size data. "
            b"The key needs to be hashed before being used by the HMAC algorithm."
        ),
        "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
    ),
}

BODY = b'{"eventType":"bundle:finished"}'
DIGITS = sign(BODY, "current").removeprefix("sha256=")
OLD = Secret(label="SECRETS[1]", key=b"old")
CURRENT = Secret(label="SECRETS[0]", key=b"current")
EMPTY = Secret(label="SECRETS[2]", key=b"")


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["file"])
def test_sign_and_verify__vectors_of_node(vector):
    body = sample_body(vector["event"])
    secret = Secret(label="SECRETS[0]", key=vector["secret"].encode())
    assert sign(body, vector["secret"]) == sign(body, secret.key) == vector["signature"]
    assert verify(body, vector["signature"], [secret]) is secret


@pytest.mark.parametrize(("key", "data", "digest"), RFC_4231.values(), ids=RFC_4231)
def test_sign_and_verify__vectors_of_rfc_4231(key, data, digest):
    secret = Secret(label="SECRETS[0]", key=key)
    assert sign(data, key) == f"sha256={digest}"
    assert verify(data, f"sha256={digest}", [secret]) is secret


@pytest.mark.parametrize("signature", [None, ""], ids=["missing", "empty"])
def test_verify__no_signature(signature):
    with pytest.raises(MissingSignature):
        verify(BODY, signature, [CURRENT])


@pytest.mark.parametrize(
    "signature",
    [
        DIGITS,
        "sha256=",
        f"sha1={DIGITS}",
        f"SHA256={DIGITS}",
        f"sha256:{DIGITS}",
        f"sha256={DIGITS[:-1]}",
        f"sha256={DIGITS}0",
        f" sha256={DIGITS}",
        f"sha256={DIGITS} ",
        f"sha256={DIGITS}\n",
        f"sha256= {DIGITS}",
        f"sha256={DIGITS[:-1]} ",
        f"sha256={'g' * 64}",
        f"sha256={'é' * 64}",
        "sha256=" + "\N{FULLWIDTH DIGIT ONE}" * 64,
        f"sha256={DIGITS},sha256={DIGITS}",
        f"sha256={DIGITS}, sha256={DIGITS}",
    ],
)
def test_verify__malformed(signature):
    with pytest.raises(MalformedSignature):
        verify(BODY, signature, [CURRENT])


def test_verify__uppercase_digits_accepted():
    assert verify(BODY, f"sha256={DIGITS.upper()}", [CURRENT]) is CURRENT


@pytest.mark.parametrize("secrets", [[OLD, CURRENT], [CURRENT, OLD], [EMPTY, CURRENT]])
def test_verify__several_secrets(secrets):
    assert verify(BODY, sign(BODY, "current"), iter(secrets)) is CURRENT


@pytest.mark.parametrize(
    ("body", "signature", "secrets"),
    [
        (BODY, sign(BODY, "current"), []),
        (BODY, sign(BODY, "current"), [OLD]),
        (BODY + b"\n", sign(BODY, "current"), [CURRENT]),
        (BODY, sign(BODY, "current "), [CURRENT]),
        (BODY, f"sha256={'0' * 64}", [CURRENT, OLD]),
        (BODY, sign(BODY, ""), [EMPTY]),
        (b"", sign(b"", ""), [EMPTY]),
    ],
    ids=["no secret", "another", "one byte more", "a space more", "zeros", "empty", "all empty"],
)
def test_verify__wrong(body, signature, secrets):
    with pytest.raises(WrongSignature):
        verify(body, signature, secrets)


@pytest.mark.parametrize("refusal", [MalformedSignature, WrongSignature])
def test_verify__message_shows_neither_secret_nor_digest(refusal):
    claimed = "sha256=canary" if refusal is MalformedSignature else f"sha256={'0' * 64}"
    with pytest.raises(refusal) as raised:
        verify(BODY, claimed, [CURRENT])
    assert not any(shown in str(raised.value) for shown in ("current", "canary", "0000", DIGITS))


def test_secret__repr_shows_no_key():
    assert repr(CURRENT) == "Secret(label='SECRETS[0]')"
    assert "current" not in f"{CURRENT} {[CURRENT]} {(CURRENT,)!r}"

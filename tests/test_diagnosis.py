from __future__ import annotations

import base64
import hmac
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.test import override_settings
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from perfsee_webhooks.diagnosis import Finding, diagnose
from perfsee_webhooks.envelope import KEPT_HEADERS
from perfsee_webhooks.exceptions import RequestRefused
from perfsee_webhooks.models import Delivery, Rejection
from perfsee_webhooks.signatures import sign
from perfsee_webhooks.verification import verify_request

from .strategies import ANY_JSON, TEXT

CANARY = "canary-secret"
OTHER = "canary-of-another"
SIGNATURE = "X-Perfsee-Signature-256"
HOOK = "X-Perfsee-Hook-ID"
SEVEN = {HOOK: "7"}

pytestmark = pytest.mark.django_db

Refuse = Callable[..., Rejection]


@pytest.fixture
def refuse(post: Callable[..., Any]) -> Refuse:
    """Posts a request that is refused, and returns the row that was kept of it."""

    def refuse_one(body: bytes, **request: Any) -> Rejection:
        assert post(body, **request).status_code >= 400
        return Rejection.objects.latest("pk")

    return refuse_one


def text_of(finding: Finding) -> str:
    return " ".join((finding.what, finding.advice, *finding.causes))


def found(rejection: Rejection, known: Delivery | None = None) -> list[Finding]:
    """What is found, once it is sure that no secret and no digest is in it."""
    findings = diagnose(rejection, known)
    text = " ".join(map(text_of, findings))
    assert "canary" not in text
    assert not re.search("[0-9a-fA-F]{32}", text)
    claimed = rejection.headers.get(SIGNATURE, "")
    assert len(claimed) < 40 or claimed not in text
    return findings


def only(rejection: Rejection, known: Delivery | None = None) -> Finding:
    (finding,) = found(rejection, known)
    return finding


# The signature


def test_diagnose__says_that_it_would_be_verified_now(refuse, body, webhook_setting):
    rejection = refuse(body, secret=CANARY)
    webhook_setting(SECRETS=[CANARY])
    finding = only(rejection)
    assert finding.is_good
    assert finding.what == "The signature was made with SECRETS[0]. The cause is mended."
    assert "restart the processes" in finding.advice


def test_diagnose__tells_a_previous_secret(refuse, body, webhook_setting):
    rejection = refuse(body, secret=CANARY)
    webhook_setting(SECRETS=["newest", CANARY])
    verified, previous = found(rejection)
    assert verified.is_good
    assert "SECRETS[1]" in verified.what
    assert previous.what.startswith("SECRETS[1] is a previous secret")
    assert "Set the newest secret" in previous.advice


def test_diagnose__tells_the_secret_of_another_hook(refuse, body, webhook_setting):
    webhook_setting(HOOKS={"8": {"SECRETS": [CANARY]}})
    finding = only(refuse(body, secret=CANARY, headers=SEVEN))
    assert not finding.is_good
    assert "was made with HOOKS['8'].SECRETS[0]." in finding.what
    assert "from the hook '7', for which that secret is not valid" in finding.what
    assert "put the secret into its SECRETS" in finding.advice


def test_diagnose__tells_the_secret_of_a_hook_where_the_request_names_none(
    refuse, body, webhook_setting
):
    webhook_setting(HOOKS={"8": {"SECRETS": [CANARY]}})
    finding = only(refuse(body, secret=CANARY, headers={HOOK: None}))
    assert "from a request that names no hook" in finding.what


@pytest.mark.parametrize("keys", ["87", "78"])
def test_diagnose__names_a_secret_of_several_hooks_where_it_counts(
    refuse, body, webhook_setting, keys
):
    rejection = refuse(body, secret=CANARY, headers=SEVEN)
    own = {hook_id: {"SECRETS": [CANARY]} for hook_id in keys}
    webhook_setting(SECRETS=["newest", CANARY], HOOKS=own)
    finding = only(rejection)
    assert finding.is_good
    assert "HOOKS['7'].SECRETS[0]" in finding.what
    assert verify_request(body, rejection.headers) == "HOOKS['7'].SECRETS[0]"


@pytest.mark.parametrize(
    ("set_here", "in_perfsee", "told"),
    [
        (f" {CANARY}", CANARY, ("without the white space", "Remove the white space")),
        (f'"{CANARY}"', CANARY, ("without the quotes", "Remove the quotes")),
        (CANARY, f"{CANARY}\n", ("with a line end added", "in Perfsee ends with a line end")),
    ],
)
def test_diagnose__tells_what_is_wrong_with_the_secret(
    refuse, body, webhook_setting, set_here, in_perfsee, told
):
    webhook_setting(SECRETS=["other", set_here])
    finding = only(refuse(body, secret=in_perfsee))
    assert finding.what.startswith(f"The signature was made with SECRETS[1] {told[0]}")
    assert told[1] in finding.advice
    assert not finding.is_good


@pytest.mark.parametrize("secrets", [[CANARY], ['""'], [" "]])
def test_diagnose__tells_an_empty_secret(refuse, body, webhook_setting, secrets):
    webhook_setting(SECRETS=secrets)
    finding = only(refuse(body, headers={SIGNATURE: sign(body, "")}))
    assert finding.what == "The signature was made with an empty secret."
    assert "never accepted" in finding.advice


def test_diagnose__takes_an_empty_secret_of_the_site_for_none(refuse, body, webhook_setting):
    webhook_setting(SECRETS=[""])
    missing, empty = found(refuse(body, headers={SIGNATURE: sign(body, "")}))
    assert "has no secret" in missing.what
    assert empty.what == "The signature was made with an empty secret."
    assert not empty.is_good


@pytest.mark.parametrize(
    ("rewrite", "what"),
    [
        (lambda body: json.dumps(json.loads(body)).encode(), "JSON.stringify"),
        (lambda body: json.dumps(json.loads(body), indent=2).encode(), "JSON.stringify"),
        (lambda body: b"\xef\xbb\xbf" + body, "without the byte order mark"),
        (lambda body: body + b"\n", "without the white space at its end"),
        (lambda body: body.decode().encode("utf-16"), "as UTF-8 instead of utf-16"),
        (lambda body: body.decode("cp1252").encode(), "taken for cp1252"),
    ],
)
def test_diagnose__tells_what_was_done_to_the_body(refuse, body, webhook_setting, rewrite, what):
    webhook_setting(SECRETS=[CANARY])
    sent = body.replace(b"feat/webhook", "feat/wébhook€".encode())
    finding = only(refuse(rewrite(sent), headers={SIGNATURE: sign(sent, CANARY)}))
    assert finding.what.startswith("The signature was made with SECRETS[0] over the body ")
    assert what in finding.what
    assert "hand on the exact bytes" in finding.advice
    assert "cannot be accepted" in finding.advice


def test_diagnose__tells_line_ends_that_were_rewritten(refuse, webhook_setting):
    webhook_setting(SECRETS=[CANARY])
    sent = b'{\n "a": 1.50\n}'
    came = sent.replace(b"\n", b"\r\n")
    assert "LF instead of CRLF" in only(refuse(came, headers={SIGNATURE: sign(sent, CANARY)})).what


@pytest.mark.parametrize(
    ("written", "what"),
    [("{hex}", "without 'sha256=' before it"), ("sha256={base64}", "in base64 instead")],
)
def test_diagnose__tells_another_notation(refuse, body, webhook_setting, written, what):
    webhook_setting(SECRETS=[CANARY])
    digest = hmac.digest(CANARY.encode(), body, "sha256")
    signature = written.format(hex=digest.hex(), base64=base64.b64encode(digest).decode())
    finding = only(refuse(body, headers={SIGNATURE: signature}))
    assert what in finding.what
    assert "Perfsee writes 'sha256='" in finding.advice


def test_diagnose__tells_all_that_is_wrong_at_once(refuse, body, webhook_setting):
    webhook_setting(HOOKS={"8": {"SECRETS": [f" {CANARY}"]}})
    finding = only(refuse(body + b"\n", headers={**SEVEN, SIGNATURE: sign(body, CANARY)[7:]}))
    for part in ("HOOKS['8'].SECRETS[0] without", "over the body", "without 'sha256='", "'7'"):
        assert part in finding.what
    for part in ("Remove the white space", "exact bytes", "Perfsee writes", "into its SECRETS"):
        assert part in finding.advice


def test_diagnose__says_where_nothing_matches(refuse, body):
    finding = only(refuse(body, secret=CANARY, headers={"Via": "1.1 proxy"}))
    assert finding.what.startswith("No secret of this site made the signature")
    assert [cause.partition(":")[0] for cause in finding.causes] == [
        "The hook has another secret in Perfsee",
        "A proxy changed the body in a way that was not tried",
        "It was not sent by Perfsee",
    ]
    assert "as its headers say (Via)" in finding.causes[1]


def test_diagnose__takes_what_looks_like_nothing_of_perfsees_for_a_strangers_first(client):
    client.post("/perfsee/webhook/", b"{}", "text/plain", headers={SIGNATURE: sign(b"", CANARY)})
    finding = found(Rejection.objects.get())[0]
    assert finding.causes[0].startswith("It was not sent by Perfsee")
    client.post("/perfsee/webhook/", b"{}", "text/plain")
    finding = found(Rejection.objects.latest("pk"))[0]
    assert "nothing in it looks like Perfsee's" in finding.what
    assert finding.causes[0].startswith("It was not sent by Perfsee")


def test_diagnose__tells_a_header_that_holds_no_digest(refuse, body):
    finding = only(refuse(body, headers={SIGNATURE: "sha1=" + "ab" * 20}))
    assert finding.what == "The signature header holds no SHA-256 digest in any notation."


@pytest.mark.parametrize("signature", [None, ""])
def test_diagnose__tells_a_missing_signature(refuse, body, signature):
    finding = only(refuse(body, headers={SIGNATURE: signature, "X-Forwarded-For": "192.0.2.1"}))
    assert "no signature, but looks like Perfsee's: it has the User-Agent" in finding.what
    assert [cause.partition(":")[0] for cause in finding.causes] == [
        "The hook has no secret in Perfsee",
        f"A proxy dropped the {SIGNATURE} header",
        "It was not sent by Perfsee",
    ]
    assert "(X-Forwarded-For)" in finding.causes[1]


def test_diagnose__says_that_unsigned_ones_are_taken_now(refuse, body, webhook_setting):
    rejection = refuse(body, secret=None)
    webhook_setting(ALLOW_UNSIGNED=True, SECRETS=[])
    finding = only(rejection)
    assert finding.is_good
    assert "Nobody vouches for it" in finding.advice


@pytest.mark.parametrize("content", [b"[]", b'{"a":1}'])
def test_diagnose__says_what_an_unsigned_one_lacks(refuse, webhook_setting, content):
    webhook_setting(ALLOW_UNSIGNED=True)
    unsigned, lacking = found(refuse(content, secret=None))
    assert unsigned.is_good
    assert lacking.what.startswith("The unsigned body")
    assert not lacking.is_good


@pytest.mark.parametrize("secrets", [[], [""]])
def test_diagnose__tells_that_the_site_has_no_secret(refuse, body, webhook_setting, secrets):
    webhook_setting(SECRETS=secrets, HOOKS={"8": {"SECRETS": ["of eight"]}})
    missing, _wrong = found(refuse(body, secret=CANARY, headers=SEVEN))
    assert missing.what == "This site has no secret for the hook '7'."
    assert "into SECRETS" in missing.advice


# The rest of the request


def test_diagnose__tells_a_project_and_the_patterns(refuse, body, webhook_setting):
    webhook_setting(HOOKS={"7": {"SECRETS": [CANARY], "PROJECTS": ["web-*", "site"]}})
    rejection = refuse(body, secret=CANARY, headers=SEVEN)
    verified, finding = found(rejection)
    assert verified.is_good
    assert "mended" not in verified.what
    assert finding.what == (
        "The body names 'perfsee', while HOOKS['7'].PROJECTS allows 'web-*', 'site'."
    )
    webhook_setting(HOOKS={"7": {"SECRETS": [CANARY], "PROJECTS": []}})
    assert found(rejection)[1].what.endswith("allows none.")
    webhook_setting(HOOKS={"7": {"SECRETS": [CANARY], "PROJECTS": ["perf*"]}})
    assert found(rejection)[1].what == "The project that it is about is allowed now."
    assert found(rejection)[1].is_good


def test_diagnose__tells_a_body_that_names_no_project(refuse, webhook_setting):
    webhook_setting(HOOKS={"7": {"SECRETS": [CANARY], "PROJECTS": ["web"]}})
    finding = found(refuse(b"{}", secret=CANARY, headers=SEVEN))[1]
    assert finding.what.startswith("The body names no project, while")


@pytest.mark.parametrize(
    ("delivery_id", "what"), [(None, "has no X-Perfsee-Delivery"), ("no id!", "is not one id")]
)
def test_diagnose__tells_an_unusable_id(refuse, body, webhook_setting, delivery_id, what):
    webhook_setting(SECRETS=[CANARY])
    rejection = refuse(body, secret=CANARY, headers={"X-Perfsee-Delivery": delivery_id})
    verified, finding = found(rejection)
    assert verified.is_good
    assert what in finding.what
    assert f"rejection-{rejection.pk}" in finding.advice
    webhook_setting(SECRETS=["other"])
    assert f"rejection-{rejection.pk}" not in text_of(found(rejection)[-1])


def test_diagnose__tells_a_conflict_with_the_delivery(refuse, post, body, webhook_setting):
    webhook_setting(SECRETS=[CANARY])
    post(body, secret=CANARY, delivery_id="one")
    rejection = refuse(body + b" ", secret=CANARY, delivery_id="one")
    known = Delivery.objects.get()
    verified, finding = found(rejection, known)
    assert verified.is_good
    assert finding.what == "Its delivery id is stored with another body."
    assert finding.delivery == known
    assert not finding.is_good
    assert found(rejection)[1].what == "The delivery that had its id then is no longer kept."


def test_diagnose__tells_what_is_stored_already(refuse, post, body, webhook_setting):
    rejection = refuse(body, secret=CANARY, delivery_id="one")
    webhook_setting(SECRETS=[CANARY])
    post(body, secret=CANARY, delivery_id="one")
    stored = found(rejection, Delivery.objects.get())[1]
    assert stored.what == "The same delivery is stored already."
    assert stored.is_good
    assert stored.delivery == Delivery.objects.get()


def test_diagnose__names_the_first_with_the_same_body(post, body, webhook_setting):
    webhook_setting(REFUSE_SAME_BODY=True)
    post(body, delivery_id="one")
    post(body, delivery_id="two")
    first = Delivery.objects.get()
    (finding,) = (
        one
        for one in diagnose(Rejection.objects.get(), None, first)
        if "very same body" in one.what
    )
    assert finding.delivery == first


def test_diagnose__tells_what_was_too_large(refuse, body, webhook_setting):
    webhook_setting(MAX_BODY_BYTES=1000, SECRETS=[CANARY])
    finding = only(refuse(b"x" * 1001, secret=CANARY))
    assert finding.what == "The body was too large: 1,001 bytes, while 1,000 are taken now."
    assert "MAX_BODY_BYTES" in finding.advice


def test_diagnose__tells_what_was_cut(refuse, webhook_setting, delivery):
    webhook_setting(SECRETS=["other"])
    body = b"x" * 200_000
    rejection = refuse(body, secret=CANARY)
    webhook_setting(SECRETS=[CANARY])
    cut = only(rejection)
    assert "Only the first 128.0 KB of the body are kept" in cut.what.replace("\xa0", " ")
    assert not cut.is_good
    # Of a part nobody can tell whether it is the body that is stored.
    assert "with this body or another" in found(rejection, delivery)[1].what


@pytest.mark.parametrize("reason", ["malformed", "wrong_signature"])
def test_diagnose__tells_what_broke_off(body, reason):
    headers = {SIGNATURE: sign(body, CANARY), "X-Perfsee-Delivery": "one"}
    part = b""
    if reason != "malformed":
        headers["Content-Length"], part = str(len(body)), body[:100]
    rejection = Rejection(reason=reason, headers=headers, body=part, body_size=len(part))
    assert only(rejection).what.startswith("The body broke off on its way")


def test_diagnose__believes_a_signature_more_than_a_length(body, webhook_setting):
    webhook_setting(SECRETS=[CANARY])
    headers = {SIGNATURE: sign(body, CANARY), "Content-Length": "99999", "X-Perfsee-Delivery": "1"}
    rejection = Rejection(reason="wrong_signature", headers=headers, body=body, body_size=len(body))
    assert only(rejection).is_good


# Whatever comes

_HEADERS = st.dictionaries(
    st.sampled_from(KEPT_HEADERS),
    TEXT.map(lambda text: text[:500]) | st.from_regex("sha256=[0-9a-f]{64}", fullmatch=True),
)
_BODIES = st.binary(max_size=200) | ANY_JSON.map(lambda value: json.dumps(value).encode()[:5000])


@given(
    _HEADERS,
    _BODIES,
    st.sampled_from(Rejection.Reason.values),
    st.integers(0, 1),
    st.sampled_from(["", "unsigned", "SECRETS[0]", "HOOKS['7'].SECRETS[1]"]),
    st.booleans(),
)
def test_diagnose__never_raises(headers, body, reason, missing, verified_by, is_known):
    rejection = Rejection(
        pk=1,
        reason=reason,
        headers=headers,
        body=body,
        body_size=len(body) + missing,
        verified_by=verified_by,
        received_at=timezone.now(),
    )
    known = Delivery(pk=1, delivery_id="one", body_sha256="0" * 64) if is_known else None
    found(rejection, known)


@given(
    st.sampled_from(["", "7", "8", "9"]),
    st.sampled_from(["of any", "older", "of seven", "of eight", "unknown", "", " spaced"]),
    st.sampled_from(["{}", " {}", "{}x"]),
)
def test_diagnose__says_that_the_signature_is_good_where_the_view_says_so(hook_id, key, written):
    own = {"7": {"SECRETS": ["of seven"]}, "8": {"SECRETS": ["of eight", "of seven", ""]}}
    body = b'{"eventType":"a:b"}'
    headers = {SIGNATURE: written.format(sign(body, key)), HOOK: hook_id, "X-Perfsee-Delivery": "1"}
    rejection = Rejection(
        pk=1, reason="wrong_signature", headers=headers, body=body, body_size=len(body)
    )
    with override_settings(
        PERFSEE_WEBHOOKS={"SECRETS": ["of any", "older", " spaced ", ""], "HOOKS": own}
    ):
        try:
            is_verified = bool(verify_request(body, headers))
        except RequestRefused:
            is_verified = False
        assert any(finding.is_good for finding in diagnose(rejection)) == is_verified

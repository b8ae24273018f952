"""Only the exact bytes are signed, and only who knows a secret can sign."""

from __future__ import annotations

from .. import sender
from ..sender import Headers
from ..trial import GUESSED, Trial
from .scenario import scenario

_UNUSUAL = (
    b'{ "eventType" : "bundle:finished",\n "payload":{"data":{"project":{"id":"1\\u0301",'
    b'"size":1.50e3,"zero":-0.0,"again":1,"again":2}},"variables":{"a":"\\/","b":"\\u00e9"}}} '
)


@scenario
def the_bytes_are_signed_as_they_are(trial: Trial) -> None:
    """A body written as no JSON library would write it is accepted, for its bytes are signed."""
    delivery_id = trial.new_id()
    trial.accepts(trial.send(_UNUSUAL, delivery_id), "an unusually written body")
    trial.keeps(delivery_id, _UNUSUAL)


@scenario
def altered_after_signing(trial: Trial) -> None:
    """A body of which one value was changed on its way is refused and not kept."""
    body = trial.sample()
    _is_refused(trial, body.replace(b'"', b'"x', 1), {sender.SIGNATURE: _signed(trial, body)})
    _is_refused(trial, body + b" ", {sender.SIGNATURE: _signed(trial, body)})


@scenario
def written_anew_after_signing(trial: Trial) -> None:
    """A body that means the same and has other bytes is refused: nobody has signed it."""
    body = trial.sample()
    spaced = body.replace(b":", b": ", 1).replace(b",", b", ", 1)
    _is_refused(trial, spaced, {sender.SIGNATURE: _signed(trial, body)})


@scenario
def a_wrong_signature(trial: Trial) -> None:
    """A signature of another secret is refused."""
    _is_refused(trial, trial.sample(), {sender.SIGNATURE: sender.sign(trial.sample(), GUESSED)})


@scenario
def the_signature_of_an_empty_secret(trial: Trial) -> None:
    """An empty secret is none: everybody knows it."""
    _is_refused(trial, trial.sample(), {sender.SIGNATURE: sender.sign(trial.sample(), "")})


@scenario
def no_signature(trial: Trial) -> None:
    """A request without the header is refused, and one in which it is empty."""
    _is_refused(trial, trial.sample(), {sender.SIGNATURE: None})
    _is_refused(trial, trial.sample(), {sender.SIGNATURE: ""})


@scenario
def a_cut_signature(trial: Trial) -> None:
    """A part of the right signature is not the signature."""
    signature = _signed(trial, trial.sample())
    for part in (signature[:-1], signature[:15], "sha256=", signature.removeprefix("sha256=")):
        _is_refused(trial, trial.sample(), {sender.SIGNATURE: part})


@scenario
def a_malformed_signature(trial: Trial) -> None:
    """Whatever stands in the header, the answer is a 4xx and no error of the receiver."""
    signature = _signed(trial, trial.sample())
    right = signature.removeprefix("sha256=")
    for value in (
        "sha1=" + right[:40],
        "sha256=" + "g" * 64,
        "sha256=" + "é" * 64,
        "sha256=" + "\xff" * 64,
        "sha256=" + right + "0",
        "SHA512=" + right,
        "x" * 4000,
        "%00",
    ):
        _is_refused(trial, trial.sample(), {sender.SIGNATURE: value})
    twice = [sender.sign(trial.sample(), GUESSED), signature]
    trial.copes(
        trial.send(trial.sample(), trial.new_id(), headers={sender.SIGNATURE: twice}), "two"
    )


@scenario
def the_old_and_the_new_secret(trial: Trial) -> None:
    """While a secret is changed, both are valid."""
    for secret in trial.receiver.secrets:
        delivery_id = trial.new_id()
        trial.accepts(trial.send(trial.sample(), delivery_id, secret=secret), "each valid secret")
        trial.keeps(delivery_id, trial.sample())


def _signed(trial: Trial, body: bytes) -> str:
    return sender.sign(body, trial.secret)


def _is_refused(trial: Trial, body: bytes, headers: Headers) -> None:
    delivery_id = trial.new_id()
    trial.refuses(trial.send(body, delivery_id, headers=headers), "what nobody has signed")
    trial.keeps_nothing(delivery_id)

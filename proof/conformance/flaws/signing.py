"""Flaws in who is trusted."""

from __future__ import annotations

import json
from pathlib import Path

from ..small import Request, SmallReceiver, signature


class SignsTheParsedBody(SmallReceiver):
    """The framework hands the body over as parsed JSON, so that is written out and signed again."""

    def is_signed(self, request: Request, claimed: str, secret: str) -> bool:
        written = json.dumps(json.loads(request.body), separators=(",", ":"), ensure_ascii=False)
        return signature(written.encode(errors="replace"), secret) == claimed


class ComparesTheBeginning(SmallReceiver):
    """`startswith` lets a header with or without further parts pass, and everything shorter too."""

    def is_signed(self, request: Request, claimed: str, secret: str) -> bool:
        return signature(request.body, secret).startswith(claimed)


class ComparesText(SmallReceiver):
    """`compare_digest` takes text, and raises TypeError for text that is not ASCII."""

    def is_signed(self, request: Request, claimed: str, secret: str) -> bool:
        claimed.encode("ascii")
        return super().is_signed(request, claimed, secret)


class AcceptsUnsigned(SmallReceiver):
    """`if signature and …`: what works with a secret should go on to work without one."""

    def verify(self, request: Request) -> None:
        if "X-Perfsee-Signature-256" in request.headers:
            super().verify(request)


class NeverVerifies(SmallReceiver):
    """The address is secret enough, and the check was in the way while developing."""

    def verify(self, request: Request) -> None:
        """Trust everybody."""


class KnowsOneSecret(SmallReceiver):
    """There is one setting for the secret, since there is one secret, but on the day it changes."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.secrets = self.secrets[:1]


class KnowsTheEmptySecret(SmallReceiver):
    """Secrets come from `"…,…,".split(",")`, and the last comma makes one more."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.secrets.append("")

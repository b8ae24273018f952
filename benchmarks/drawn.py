"""Bodies and headers as Perfsee's are, drawn from a seed."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from random import Random
from typing import Any, Final

BODY_BYTES: Final = 2_000
SPAN: Final = timedelta(days=90)


def headers_of(event: str, project: str) -> dict[str, str]:
    """Return the headers that are kept of a delivery."""
    return {
        "Content-Type": "application/json",
        "User-Agent": "perfsee-webhook/1.0",
        "X-Perfsee-Event": event,
        "X-Perfsee-Hook-Project": project,
    }


def body_of(draw: Random, event: str, project: str, branch: str, commit: str, key: int) -> bytes:
    """Return a body that compresses about as one of Perfsee's: names repeat, ids do not."""
    before = hashlib.sha1(b"%d" % (key // 3 - 1), usedforsecurity=False).hexdigest()
    built = _artifact(draw, key, branch, commit)
    artifact = {**built, "baseline": _artifact(draw, key - 1, "main", before)}
    data = {"id": project, "host": "Github", "namespace": "perfsee", "artifact": artifact}
    written = {
        "eventType": event,
        "payload": {"data": {"project": data}},
        "variables": {"projectSlug": project, "artifactIid": key},
        "assets": "",
    }
    body, assets = json.dumps(written)[:-2], ""
    while len(body) + len(assets) < BODY_BYTES:
        assets += f"assets/page-{draw.getrandbits(32):08x}.js: {draw.randrange(10**6)} bytes, "
    return f'{(body + assets)[: BODY_BYTES - 2]}"}}'.encode()


def _artifact(draw: Random, key: int, branch: str, commit: str) -> dict[str, Any]:
    link = f"https://perfsee.example/v1/artifacts/{key % 40}"
    return {
        "id": key,
        "branch": branch,
        "name": "main",
        "hash": commit,
        "status": "Passed",
        "duration": draw.randrange(90_000),
        "failedReason": None,
        "buildLink": f"{link}/{draw.getrandbits(128):032x}.tar",
        "reportLink": f"{link}/bundle-results/{draw.getrandbits(128):032x}.json",
        "contentLink": f"{link}/bundle-content/{draw.getrandbits(128):032x}.json",
        "score": draw.randrange(100),
        "createdAt": "2026-11-24T03:12:04.076Z",
    }

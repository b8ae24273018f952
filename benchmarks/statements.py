"""Counts the statements of a request, and prints them as JSON: `python -m benchmarks.statements`.

It needs the environment of the peers' site, see `peers/settings.py`.
"""

from __future__ import annotations

import json
from typing import Any, Final

import django
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from perfsee_webhooks.conf import TASKS, webhook_settings

from .load import Made, forged, new

# As many as a process keeps of what strangers send, before it only counts them.
_KEPT_FORGERIES: Final = 60


def main() -> None:
    """Print for each kind of request the verbs of its statements."""
    django.setup()
    first, second = new(2)
    _verbs(first)
    if webhook_settings.processing == TASKS:
        print(json.dumps({"new, handed over": _verbs(second)}))
        return
    bad = [_verbs(made) for made in forged(_KEPT_FORGERIES + 5)]
    print(
        json.dumps(
            {
                "new": _verbs(second),
                "repeat": _verbs(second),
                "forged": bad[-1],
                "forged, kept": bad[1],
            }
        )
    )


def _verbs(made: Made) -> list[str]:
    body, headers = made
    client: Any = Client(headers=headers)
    with CaptureQueriesContext(connection) as captured:
        client.post("/perfsee/webhook/", body, content_type=headers["Content-Type"])
    return [query["sql"].split()[0] for query in captured]


if __name__ == "__main__":
    main()

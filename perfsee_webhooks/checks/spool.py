"""Whether the folder of the spool can be written, and read by nobody else."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Warning  # noqa: A004  # Django's own name


def is_folder(value: Any) -> bool:
    """Say whether a value is the absolute path of a folder, be it there yet or not."""
    if not isinstance(value, str | os.PathLike):
        return False
    path = os.fspath(value)
    return isinstance(path, str) and "\0" not in path and Path(path).is_absolute()


def check_spool(value: Any) -> Iterator[CheckMessage]:
    """Yield what is wrong with `SPOOL_DIR`."""
    if not is_folder(value):
        return
    folder = Path(value)
    for name in ("MEDIA_ROOT", "STATIC_ROOT"):
        served = getattr(settings, name, None)
        if served and folder.is_relative_to(Path(served).absolute()):
            yield Warning(
                f"PERFSEE_WEBHOOKS['SPOOL_DIR'] lies in {name}, which strangers can read.",
                hint="Take a folder outside of what the site serves.",
                id="perfsee_webhooks.W010",
            )
    there = next((path for path in (folder, *folder.parents) if path.exists()), folder)
    if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
        yield Warning(
            "PERFSEE_WEBHOOKS['SPOOL_DIR'] cannot be written: what comes while the database is "
            "away is lost.",
            hint="Make the folder, and give it to the user that serves the site.",
            id="perfsee_webhooks.W024",
        )
    elif there == folder and folder.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        yield Warning(
            "PERFSEE_WEBHOOKS['SPOOL_DIR'] can be entered by other users of the machine.",
            hint="Take the folder's rights away from all but its owner: mode 0700.",
            id="perfsee_webhooks.W025",
        )

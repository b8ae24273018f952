"""The one setting, `PERFSEE_WEBHOOKS`, read live through typed properties.

Nothing is cached, so that `override_settings` simply works. A property trusts the type of what
it reads: `checks.py` tells a site at start-up about each mistake that the setting can hold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from django.conf import settings

from .text import is_encodable

INLINE: Final = "inline"
TASKS: Final = "tasks"

DEFAULTS: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "SECRETS": (),
        "HOOKS": MappingProxyType({}),
        "ALLOW_UNSIGNED": False,
        "REFUSE_SAME_BODY": False,
        "MAX_BODY_BYTES": 10 * 1024 * 1024,
        "PROCESSING": INLINE,
        "TASK_BACKEND": "default",
        "QUEUE": "default",
        "MAX_ATTEMPTS": 8,
        "BACKOFF": timedelta(seconds=30),
        "LEASE": timedelta(minutes=5),
        "KEEP_BODIES": None,
        "KEEP_ROWS": None,
        "KEEP_REJECTIONS": 1000,
        "DATABASE_WAIT": timedelta(seconds=5),
        "SPOOL_DIR": None,
        "SPOOL_MAX_FILES": 10_000,
        "SPOOL_MAX_BYTES": 256 * 1024 * 1024,
        "PERFSEE_URL": None,
    }
)

# `OPTIONS` for a SQLite database whose processes write at once: readers do not block the writer
# (WAL), a transaction that will write waits for its turn at its start (IMMEDIATE) for as long as
# Perfsee may wait for the answer (`timeout`, in seconds), and a commit is on the disk before it
# returns (FULL), since a 204 is a promise.
SQLITE_OPTIONS: Final[Mapping[str, Any]] = {
    "transaction_mode": "IMMEDIATE",
    "timeout": 25,
    "init_command": "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;",
}

# How much of a body that is too large is read and dropped, so that its sender gets the answer.
MAX_DISCARDED_BYTES: Final = 64 * 1024 * 1024

# More `OPTIONS` for PostgreSQL by psycopg 3: the app has the server keep the statements that it
# sends for each delivery, since the values come apart from them (`server_side_binding`). Nothing
# else is kept (`prepare_threshold`): from some time on the server has one plan for all values,
# which for a list of a large table can be a bad one.
POSTGRESQL_OPTIONS: Final[Mapping[str, Any]] = {
    "server_side_binding": True,
    "prepare_threshold": 2**31,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """A shared secret, and the label that stands for it wherever a person may look."""

    label: str
    key: bytes = field(repr=False)

    @property
    def is_newest(self) -> bool:
        """Whether it is the first of its list, the one that a sender should sign with."""
        return self.label.endswith("[0]")


class WebhookSettings:
    """Typed, live access to the keys of `PERFSEE_WEBHOOKS`, each with its default."""

    def _get(self, key: str) -> Any:
        return getattr(settings, "PERFSEE_WEBHOOKS", {}).get(key, DEFAULTS[key])

    @property
    def secrets(self) -> Sequence[str]:
        """The secrets of your webhooks, newest first; each is valid for any hook.

        While you change a secret, list the new one and the old one.
        """
        return self._get("SECRETS")

    @property
    def hooks(self) -> Mapping[str, Mapping[str, Any]]:
        """What is set for single hooks, by hook id: `SECRETS` and `PROJECTS`, both optional.

        `{"<hook id>": {"SECRETS": ["…"], "PROJECTS": ["web-*"]}}`: a secret of a hook is valid for
        this hook alone, beside those in `SECRETS`. A body about a project that no pattern of
        `PROJECTS` allows is refused.
        """
        return self._get("HOOKS")

    @property
    def allow_unsigned(self) -> bool:
        """Whether a request without a signature is stored. Anyone can then send anything."""
        return self._get("ALLOW_UNSIGNED") is True

    @property
    def refuse_same_body(self) -> bool:
        """Whether a body that is stored under another delivery id is refused.

        Perfsee signs the body and not the id: whoever has read a delivery on its way can send it
        again under an id of their own. Without this it runs, with a warning in the log and on its
        page. It costs one SELECT for each request; of two that come at the same instant both may
        be stored.
        """
        return self._get("REFUSE_SAME_BODY") is True

    @property
    def max_body_bytes(self) -> int:
        """The largest body that is read, in bytes; above it the answer is 413."""
        return self._get("MAX_BODY_BYTES")

    @property
    def processing(self) -> str:
        """Where receivers run.

        `"inline"`: in the serving process, once the answer has left. `"tasks"`: in a worker of
        Django Tasks. Or the dotted path of a function that takes the primary key of a delivery.
        """
        return self._get("PROCESSING")

    @property
    def task_backend(self) -> str:
        """The alias in the site's `TASKS` that deliveries are handed to, with `"tasks"`."""
        return self._get("TASK_BACKEND")

    @property
    def queue(self) -> str:
        """The queue of that backend that deliveries are handed to, with `"tasks"`."""
        return self._get("QUEUE")

    @property
    def max_attempts(self) -> int:
        """After how many failed attempts a delivery is dead."""
        return self._get("MAX_ATTEMPTS")

    @property
    def backoff(self) -> timedelta:
        """The longest wait after the first failed attempt; it doubles with each further one.

        The wait is a random part of it, so that what failed together does not come back together.
        """
        return self._get("BACKOFF")

    @property
    def lease(self) -> timedelta:
        """After how long without a sign of life a process that runs a delivery is lost."""
        return self._get("LEASE")

    @property
    def keep_bodies(self) -> timedelta | None:
        """How old a delivery gets before `perfsee_prune` removes its bytes; None for ever."""
        return self._get("KEEP_BODIES")

    @property
    def keep_rows(self) -> timedelta | None:
        """How old a delivery gets before `perfsee_prune` removes its row; None for ever.

        As long as that is there, its id is known, and a repeat runs nothing again.
        """
        return self._get("KEEP_ROWS")

    @property
    def keep_rejections(self) -> int:
        """How many refused requests that no secret vouches for are kept."""
        return self._get("KEEP_REJECTIONS")

    @property
    def database_wait(self) -> timedelta:
        """For how long a request waits for a database that is away, before it goes to the spool.

        All requests of a process wait together from the moment on when the first one found it away.
        """
        return self._get("DATABASE_WAIT")

    @property
    def spool_dir(self) -> Path | None:
        """The folder that takes verified requests while the database is away; None for none.

        Without one they are answered 503, and lost. `perfsee_sweep` stores what lies in it, so that
        it has to see the same folder. Nobody but the site's own user should be able to read it.
        """
        folder = self._get("SPOOL_DIR")
        return None if folder is None else Path(folder)

    @property
    def spool_max_files(self) -> int:
        """How many files the spool may hold; above it the answer is 503."""
        return self._get("SPOOL_MAX_FILES")

    @property
    def spool_max_bytes(self) -> int:
        """How many bytes the spool may hold; above it the answer is 503."""
        return self._get("SPOOL_MAX_BYTES")

    @property
    def perfsee_url(self) -> str | None:
        """The address of the Perfsee site that sends, for links back to it, without last slash."""
        url = self._get("PERFSEE_URL")
        return url.rstrip("/") if url else None

    def secrets_for(self, hook_id: str) -> list[Secret]:
        """Return the secrets valid for a hook: its own first, then those valid for any hook."""
        own = self.hooks.get(hook_id, {}).get("SECRETS", ())
        return [
            *_secrets(f"HOOKS[{hook_id!r}].SECRETS", own),
            *_secrets("SECRETS", self.secrets),
        ]

    def all_secrets(self) -> list[Secret]:
        """Return every secret, whichever hook it is valid for, to find out what went wrong."""
        own = [secret for hook_id in self.hooks for secret in self.secrets_for(hook_id)]
        return list(dict.fromkeys([*self.secrets_for(""), *own]))

    def projects_for(self, hook_id: str) -> Sequence[str] | None:
        """Return the patterns of the projects that a hook may speak of, None for any project."""
        patterns = self.hooks.get(hook_id, {}).get("PROJECTS")
        return None if patterns is None else _listed(patterns)


def _secrets(place: str, texts: str | Sequence[Any]) -> list[Secret]:
    # A check tells of one that cannot be encoded; the error of trying to would have it in it.
    return [
        Secret(label=f"{place}[{index}]", key=text.encode())
        for index, text in enumerate(_listed(texts))
        if isinstance(text, str) and is_encodable(text)
    ]


def _listed(value: str | Sequence[Any]) -> Sequence[Any]:
    """Take text for a list of one: its letters would be secrets and patterns of one letter.

    A system check tells of it, but a server starts without the checks.
    """
    return [value] if isinstance(value, str) else value


webhook_settings = WebhookSettings()

"""The project that an event is about."""

from __future__ import annotations

from dataclasses import dataclass

from .enumerations import RepositoryHost
from .record import Record, flag, one_of, text


@dataclass(frozen=True, slots=True, kw_only=True)
class Project(Record):
    """A project in Perfsee, which belongs to one repository."""

    slug: str | None = text("id")
    """The project's name in Perfsee's addresses: a-z, 0-9, `-` and `_`.

    Source: `project.id` in "Webhook Setting"; `Project.id` in the GraphQL schema.
    """

    host: RepositoryHost | None = one_of(RepositoryHost, "host")
    """Where the repository lives.

    Source: `project.host` in "Webhook Setting"; `GitHost` in the GraphQL schema.
    """

    namespace: str | None = text("namespace")
    """The owner of the repository on its host.

    Source: `project.namespace` in "Webhook Setting"; `Project.namespace` in the GraphQL schema.
    """

    name: str | None = text("name")
    """The name of the repository on its host.

    Source: `project.name` in "Webhook Setting"; `Project.name` in the GraphQL schema.
    """

    is_public: bool | None = flag("isPublic")
    """Whether everyone may see the project in Perfsee.

    Source: `project.isPublic` in "Webhook Setting"; `Project.isPublic` in the GraphQL schema.
    """

"""What a `bundle:finished` is about: a bundle that was built and analysed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from .enumerations import ArtifactStatus
from .record import Record, integer, moment, nested, number, one_of, text


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact(Record):
    """One build of a bundle. Those of a lab report have id, name, branch and commit hash only."""

    id: int | None = integer("id")
    """The artifact's number within its project.

    Source: `artifact.id` in "Webhook Setting"; `Artifact.id` in the GraphQL schema.
    """

    name: str | None = text("name")
    """The bundle's name, which stays the same from build to build.

    Source: `artifact.name` in "Webhook Setting"; `Artifact.name` in the GraphQL schema.
    """

    branch: str | None = text("branch")
    """The git branch that was built.

    Source: `artifact.branch` in "Webhook Setting"; `Artifact.branch` in the GraphQL schema.
    """

    commit_hash: str | None = text("hash")
    """The full hash of the git commit that was built.

    Source: `artifact.hash` in "Webhook Setting"; `Artifact.hash` in the GraphQL schema.
    """

    status: ArtifactStatus | None = one_of(ArtifactStatus, "status")
    """How far the analysis is: passed or failed, once Perfsee tells of it.

    Source: `artifact.status` in "Webhook Setting"; `BundleJobStatus` in the GraphQL schema.
    """

    failed_reason: str | None = text("failedReason")
    """Why the analysis failed: free text that may hold anything, None if it passed.

    Source: `artifact.failedReason` in "Webhook Setting"; `Artifact.failedReason` in the GraphQL
    schema.
    """

    score: float | None = number("score")
    """The audit score of the bundle, in points from 0 to 100; None if the analysis failed.

    Source: `artifact.score` in "Webhook Setting"; `Artifact.score` in the GraphQL schema.
    """

    duration: float | None = number("duration")
    """How long the analysis took, in milliseconds.

    Source: `artifact.duration` in "Webhook Setting"; `Artifact.duration` in the GraphQL schema.
    """

    build_link: str | None = text("buildLink", "buildKey")
    """The uploaded build, a tar file: an address, from older senders a key in Perfsee's storage.

    Source: `artifact.buildKey` in "Webhook Setting"; `Artifact.buildLink` in the GraphQL schema.
    """

    report_link: str | None = text("reportLink", "reportKey")
    """The analysis as JSON: an address, from older senders a key in Perfsee's storage.

    Source: `artifact.reportKey` in "Webhook Setting"; `Artifact.reportLink` in the GraphQL schema.
    """

    content_link: str | None = text("contentLink", "contentKey")
    """The modules of the bundle as JSON: an address, from older senders a key in the storage.

    Source: `artifact.contentKey` in "Webhook Setting"; `Artifact.contentLink` in the GraphQL
    schema.
    """

    created_at: datetime | None = moment("createdAt")
    """When the build was uploaded to Perfsee, in UTC.

    Source: `artifact.createdAt` in "Webhook Setting"; `Artifact.createdAt` in the GraphQL schema.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle(Record):
    """An artifact, and the one that Perfsee compares it with."""

    artifact: Artifact = nested(Artifact)
    """The artifact that was analysed.

    Source: `project.artifact` in "Webhook Setting"; `Project.artifact` in the GraphQL schema.
    """

    baseline: Artifact = nested(Artifact, "baseline")
    """The artifact of the baseline branch that it is compared with; empty if there is none.

    Source: `Artifact.baseline` in the GraphQL schema; the page does not show it.
    """

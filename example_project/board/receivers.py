"""The receivers that keep the board."""

from __future__ import annotations

import json
from typing import Any
from urllib.request import Request, urlopen

from django.conf import settings
from django.db.models import F

from perfsee_webhooks.exceptions import GiveUp
from perfsee_webhooks.models import Delivery
from perfsee_webhooks.payloads import (
    ArtifactStatus,
    BundleFinished,
    Event,
    LabSnapshotCompleted,
    LabSnapshotReportCompleted,
    SnapshotReport,
)
from perfsee_webhooks.signals import bundle_finished, receive
from perfsee_webhooks.text import lines, one_line

from .models import BundleScore, PageReport

CHAT_TIMEOUT_SECONDS = 10


class ImpossibleScore(GiveUp):
    """A score that is not between 0 and 100, which no other attempt would mend."""


@receive(bundle_finished)
def keep_score(
    sender: type[Delivery], delivery: Delivery, event: BundleFinished, **kwargs: Any
) -> None:
    """Keep the latest score of the bundle on its branch."""
    artifact = event.bundle.artifact
    if artifact.score is not None and not 0 <= artifact.score <= 100:
        raise ImpossibleScore(f"{artifact.score} is not between 0 and 100")
    built_at = artifact.created_at or delivery.received_at
    score, _ = BundleScore.objects.get_or_create(
        project=delivery.project,
        branch=delivery.branch,
        name=one_line(artifact.name or "", 200),
        defaults={"has_passed": False, "built_at": built_at},
    )
    # Deliveries may come out of order: an older build never replaces a newer one.
    BundleScore.objects.filter(pk=score.pk, built_at__lte=built_at).update(
        score=artifact.score,
        baseline_score=event.bundle.baseline.score,
        has_passed=artifact.status == ArtifactStatus.PASSED,
        built_at=built_at,
    )
    BundleScore.objects.filter(pk=score.pk).update(builds=F("builds") + 1)


@receive(bundle_finished)
def announce_score(
    sender: type[Delivery], delivery: Delivery, event: BundleFinished, **kwargs: Any
) -> None:
    """Tell the chat, if the site has one. A chat that is down makes the receiver run again."""
    if not settings.BOARD_CHAT_URL:
        return
    message = json.dumps({"text": delivery.summary}).encode()
    headers = {"Content-Type": "application/json"}
    request = Request(settings.BOARD_CHAT_URL, message, headers)  # noqa: S310  # the site's own
    with urlopen(request, timeout=CHAT_TIMEOUT_SECONDS):  # noqa: S310  # as above
        pass


@receive("lab:*")
async def keep_reports(
    sender: type[Delivery], delivery: Delivery, event: Event, **kwargs: Any
) -> None:
    """Keep the latest report of each page that a snapshot or a single report is about."""
    match event:
        case LabSnapshotCompleted():
            for report in event.snapshot.reports:
                await _keep_report(delivery, report)
        case LabSnapshotReportCompleted():
            await _keep_report(delivery, event.snapshot_report)


async def _keep_report(delivery: Delivery, report: SnapshotReport) -> None:
    measured_at = report.created_at or delivery.received_at
    values = {
        "url": one_line(report.page.url or "", 2000),
        "status": one_line(report.status or "", 50),
        "failed_reason": lines(report.failed_reason or "", 2000),
        "measured_at": measured_at,
    }
    kept, created = await PageReport.objects.aget_or_create(
        project=delivery.project,
        page=one_line(report.page.name or "", 200),
        profile=one_line(report.profile.name or "", 200),
        defaults=values,
    )
    if not created:
        newer = PageReport.objects.filter(pk=kept.pk, measured_at__lte=measured_at)
        await newer.aupdate(**values)

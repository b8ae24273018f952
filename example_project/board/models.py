"""What the board shows: the latest score of each bundle and the latest report of each page."""

from __future__ import annotations

from django.db import models


class BundleScore(models.Model):
    """The latest score of a bundle on a branch of a project."""

    project = models.CharField(max_length=100)
    branch = models.CharField(max_length=200)
    name = models.CharField(max_length=200)
    score = models.FloatField(null=True)
    baseline_score = models.FloatField(null=True)
    has_passed = models.BooleanField()
    built_at = models.DateTimeField()
    builds = models.PositiveIntegerField(default=0)

    class Meta:
        ordering = ("project", "branch", "name")
        constraints = (
            models.UniqueConstraint(
                fields=("project", "branch", "name"), name="board_bundle_score_unique"
            ),
        )

    def __str__(self) -> str:
        return f"{self.project}/{self.name} @ {self.branch}"

    @property
    def change(self) -> float | None:
        """The difference to the baseline, None if one of the scores is missing."""
        if self.score is None or self.baseline_score is None:
            return None
        return self.score - self.baseline_score


class SentAlert(models.Model):
    """When the admins were last told of a group of failures."""

    group = models.CharField(max_length=500, unique=True)
    sent_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.group


class PageReport(models.Model):
    """The latest lab report of a page with a profile."""

    project = models.CharField(max_length=100)
    page = models.CharField(max_length=200)
    url = models.CharField(max_length=2000)
    profile = models.CharField(max_length=200)
    status = models.CharField(max_length=50)
    failed_reason = models.TextField()
    measured_at = models.DateTimeField()

    class Meta:
        ordering = ("project", "page", "profile")
        constraints = (
            models.UniqueConstraint(
                fields=("project", "page", "profile"), name="board_page_report_unique"
            ),
        )

    def __str__(self) -> str:
        return f"{self.project}: {self.page} on {self.profile}"

"""The board's page."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from .models import BundleScore, PageReport


@require_safe
def board(request: HttpRequest) -> HttpResponse:
    """Show the latest score of each bundle and the latest report of each page."""
    context = {"scores": BundleScore.objects.all(), "reports": PageReport.objects.all()}
    return render(request, "board/board.html", context)

"""Filters that stay quick on a large table, where a plain one would look at each row of it."""

from __future__ import annotations

from typing import Any, Final, cast

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from .. import events
from ..models import Delivery, DeliveryQuerySet

_LATEST: Final = 1000


class EventFilter(admin.SimpleListFilter):
    """Deliveries of one of Perfsee's known events, or of any other."""

    title = "event"
    parameter_name = "event"
    OTHER = "other"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Offer the known events and all others."""
        return [*((name, name) for name in events.KNOWN), (self.OTHER, "any other")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Delivery]) -> QuerySet[Delivery]:
        """Keep the deliveries of the chosen event."""
        if self.value() is None:
            return queryset
        if self.value() == self.OTHER:
            return queryset.exclude(event_type__in=events.KNOWN)
        return queryset.filter(event_type=self.value())


class ProjectFilter(admin.SimpleListFilter):
    """Deliveries about one project, offered from those that were heard of lately."""

    title = "project"
    parameter_name = "project"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Offer the projects of the latest deliveries."""
        latest = Delivery.objects.order_by("-received_at", "-id").values_list("project", flat=True)
        return [(slug, slug) for slug in sorted({*latest[:_LATEST]}) if slug]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Delivery]) -> QuerySet[Delivery]:
        """Keep the deliveries about the chosen project."""
        return queryset if self.value() is None else queryset.filter(project=self.value())


class FailureGroupFilter(admin.SimpleListFilter):
    """Deliveries that still fail alike; offered only where the overview has led to them."""

    title = "failure group"
    parameter_name = "failure_group"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Offer the group that is chosen, so that it can be seen and be taken away."""
        chosen = self.value()
        return [(chosen, f"still failing like {chosen}")] if chosen else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Delivery]) -> QuerySet[Delivery]:
        """Keep the deliveries of which a receiver's last run failed like the chosen group."""
        chosen = self.value()
        if chosen is None:
            return queryset
        return cast("DeliveryQuerySet", queryset).failing_with(chosen)


class ReplayFilter(admin.SimpleListFilter):
    """Deliveries of one replay; offered only where the page of that replay has led to them."""

    title = "replay"
    parameter_name = "replay"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Offer the replay that is chosen, so that it can be seen and be taken away."""
        chosen = self.value()
        return [(chosen, f"replay {chosen}")] if chosen else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Delivery]) -> QuerySet[Delivery]:
        """Keep the deliveries that were last asked for by the chosen replay."""
        chosen = self.value()
        return queryset if chosen is None else queryset.filter(replay=int(chosen))

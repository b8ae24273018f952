"""The API's addresses, below the one that a site includes them at."""

from __future__ import annotations

from typing import Any

from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.routers import APIRootView, DefaultRouter

from .deliveries import DeliveryViewSet
from .export import ExportViewSet
from .openapi import address_of
from .rejections import RejectionViewSet
from .replays import ReplayViewSet
from .runs import RunViewSet
from .stats import StatsViewSet

app_name = "perfsee_webhooks_api"


class RootView(APIRootView):
    """What Perfsee's webhooks brought to this site, and the door to run it again."""

    permission_classes = (IsAuthenticated,)
    versioning_class = None


class SchemaView(SpectacularAPIView):
    """This API in OpenAPI, without the site's other views."""

    permission_classes = (IsAuthenticated,)
    versioning_class = None
    schema = None

    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Answer with the schema, with the addresses that the site has given the API."""
        root = address_of(request, "api-root")
        here = request.build_absolute_uri("/")
        self.patterns = [path(root.removeprefix(here), include(urlpatterns))]
        response: Response = super().get(request, *args, **kwargs)
        return response


class Router(DefaultRouter):
    """Takes no format behind an address, where the end of a delivery's id looks like one."""

    include_format_suffixes = False
    APIRootView = RootView

    def get_api_root_view(self, api_urls: Any = None) -> Any:
        """Return the view of the root, with the schema among what it lists."""
        root = {prefix: f"{basename}-list" for prefix, _view, basename in self.registry}
        return self.APIRootView.as_view(api_root_dict={**root, "schema": "schema"})


router = Router()
router.register("deliveries", DeliveryViewSet, basename="deliveries")
router.register("export", ExportViewSet, basename="export")
router.register("runs", RunViewSet, basename="runs")
router.register("rejections", RejectionViewSet, basename="rejections")
router.register("replays", ReplayViewSet, basename="replays")
router.register("stats", StatsViewSet, basename="stats")

urlpatterns = [
    path(
        "schema/", SchemaView.as_view(custom_settings={"TITLE": "Perfsee webhooks"}), name="schema"
    ),
    *router.urls,
]

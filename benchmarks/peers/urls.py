"""One address, and behind it the view that `PEER` names."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

from django.urls import include, path


def _of_views(name: str) -> Any:
    return getattr(import_module("benchmarks.peers.views"), name)


def _patterns(peer: str) -> list[Any]:
    match peer:
        case "perfsee":
            return [path("perfsee/", include("perfsee_webhooks.urls"))]
        case "dj-stripe":
            return [path("stripe/", include("djstripe.urls", namespace="djstripe"))]
        case "drf":
            return [path("perfsee/webhook/", _of_views("OfRestFramework").as_view())]
        case "async":
            async_views = import_module("benchmarks.peers.async_views")
            return [path("perfsee/webhook/", async_views.bare)]
        case _:
            return [path("perfsee/webhook/", _of_views(peer))]


urlpatterns = _patterns(os.environ.get("PEER", "perfsee"))

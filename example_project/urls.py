"""The example site's addresses."""

from django.contrib import admin
from django.urls import include, path

from .board.views import board

urlpatterns = [
    path("", board, name="board"),
    path("perfsee/", include("perfsee_webhooks.urls")),
    path("api/", include("perfsee_webhooks.api.urls")),
    # To log in and out on the pages of the API.
    path("api-auth/", include("rest_framework.urls")),
    path("admin/", admin.site.urls),
]

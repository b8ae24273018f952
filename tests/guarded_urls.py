"""The addresses of a site that lets nobody near its receiver."""

from django.http import HttpResponse
from django.urls import include, path

app_urls = ([path("webhook/", lambda _request: HttpResponse(status=403), name="receive")], "x")

urlpatterns = [path("perfsee/", include(app_urls, namespace="perfsee_webhooks"))]

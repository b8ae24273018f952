"""The addresses of a site whose receiver is served by another process than its admin."""

from django.contrib import admin
from django.urls import path

urlpatterns = [path("admin/", admin.site.urls)]

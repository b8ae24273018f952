"""The address of the receiver, for a site to include."""

from django.urls import path

from .views import ReceiveView

app_name = "perfsee_webhooks"

receive = ReceiveView.as_view()

# Both forms, since Perfsee follows a redirect to the other one with a GET without a body.
urlpatterns = [
    path("webhook", receive),
    path("webhook/", receive, name="receive"),
]

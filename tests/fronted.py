"""The example site with the receiver in front of it, for a server to run."""

import os

from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application

from perfsee_webhooks.handlers import ASGIReceiveHandler, ReceiveHandler

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.settings")

wsgi = ReceiveHandler(get_wsgi_application())
asgi = ASGIReceiveHandler(get_asgi_application())

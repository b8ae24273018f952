"""The site of the peers with the app's receiver in front of it, for a server of either kind."""

from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application

from perfsee_webhooks.handlers import ASGIReceiveHandler, ReceiveHandler

wsgi = ReceiveHandler(get_wsgi_application())
asgi = ASGIReceiveHandler(get_asgi_application())

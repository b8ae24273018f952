"""The REST API: what came, what became of it, and the door to run it again.

A site includes `perfsee_webhooks.api.urls`. Whoever asks needs Django's own permissions; how they
are recognised, how often they may ask and in which formats they are answered is the site's to say,
in the `REST_FRAMEWORK` setting.
"""

from importlib.util import find_spec

from django.core.exceptions import ImproperlyConfigured

_missing = [
    name for name in ("rest_framework", "django_filters", "drf_spectacular") if not find_spec(name)
]
if _missing:
    raise ImproperlyConfigured(
        f"The API of perfsee_webhooks needs {' and '.join(_missing)}, not installed here: "
        "pip install 'django-perfsee-webhooks[api]'"
    )

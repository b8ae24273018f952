"""What keeps a request of Perfsee from the receiver: addresses, hosts and the headers of a proxy.

An answer other than 2xx loses a delivery for good, and so does a redirect: Perfsee follows it with
a GET that has no body.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning  # noqa: A004  # Django's own name
from django.urls import NoReverseMatch, get_resolver, reverse

from ..conf import webhook_settings
from .setting import is_sound

_API: Final = "perfsee_webhooks_api"
_API_APPS: Final = ("rest_framework", "django_filters")
_SECURITY: Final = "django.middleware.security.SecurityMiddleware"
_COMMON: Final = "django.middleware.common.CommonMiddleware"


def check_site(**_kwargs: Any) -> list[CheckMessage]:
    """Check that a request can reach the receiver, whichever way the site is served."""
    return [*_receiver(), *_api(), *_hosts(), *_proxy_header()]


def check_site_in_production(**_kwargs: Any) -> list[CheckMessage]:
    """Check, with `--deploy`, what goes wrong behind a proxy only."""
    return [*_ssl_redirect(), *_www_redirect(), *_body_size()]


def _receiver() -> Iterator[CheckMessage]:
    if getattr(settings, "ROOT_URLCONF", None) and _path_of_receiver() is None:
        yield Warning(
            "The receiver has no address, so that no delivery can arrive.",
            hint='Add path("perfsee/", include("perfsee_webhooks.urls")) to the urlpatterns.',
            id="perfsee_webhooks.W017",
        )


def _path_of_receiver() -> str | None:
    try:
        return reverse("perfsee_webhooks:receive")
    except NoReverseMatch:
        return None


def _api() -> Iterator[CheckMessage]:
    if not getattr(settings, "ROOT_URLCONF", None) or _API not in get_resolver().app_dict:
        return
    missing = [name for name in _API_APPS if not apps.is_installed(name)]
    if missing:
        yield Error(
            f"The URLs of perfsee_webhooks.api are included without {' and '.join(missing)}.",
            hint="Add rest_framework and django_filters to INSTALLED_APPS.",
            id="perfsee_webhooks.E010",
        )


def _hosts() -> Iterator[CheckMessage]:
    hosts: list[Any] = settings.ALLOWED_HOSTS
    for host in hosts:
        if not isinstance(host, str) or not re.fullmatch(r"\*|\[[0-9A-Fa-f:.]+\]|[^\s/:*]+", host):
            yield Warning(
                f"ALLOWED_HOSTS has {host!r}, which is no host: requests to it are answered 400.",
                hint="Write the name alone, without scheme, port, path or white space; with a dot "
                "before it for its subdomains as well.",
                id="perfsee_webhooks.W018",
            )


def _proxy_header() -> Iterator[CheckMessage]:
    header: Any = settings.SECURE_PROXY_SSL_HEADER
    if header is None:
        return
    is_pair = isinstance(header, list | tuple) and len(header) == 2
    if not is_pair or not re.fullmatch(r"HTTP_[A-Z0-9_]+", str(header[0])):
        yield Warning(
            "SECURE_PROXY_SSL_HEADER is no pair of a header as Django names it and its value: "
            "requests fail, or are all taken for insecure ones.",
            hint='Write ("HTTP_X_FORWARDED_PROTO", "https"), and let the proxy set that header.',
            id="perfsee_webhooks.W019",
        )


def _middleware() -> list[str]:
    named: Any = settings.MIDDLEWARE
    return [name for name in named or () if isinstance(name, str)]


def _ssl_redirect() -> Iterator[CheckMessage]:
    if (
        settings.SECURE_SSL_REDIRECT
        and settings.SECURE_PROXY_SSL_HEADER is None
        and _SECURITY in _middleware()
        and not _is_exempt_from_ssl()
    ):
        yield Warning(
            "SECURE_SSL_REDIRECT is on without SECURE_PROXY_SSL_HEADER: behind a proxy that ends "
            "TLS each delivery is redirected, and lost.",
            hint="Set SECURE_PROXY_SSL_HEADER to what the proxy sends, or add the path of the "
            "receiver to SECURE_REDIRECT_EXEMPT.",
            id="perfsee_webhooks.W020",
        )


def _is_exempt_from_ssl() -> bool:
    path = (_path_of_receiver() or "").lstrip("/")
    patterns: Any = settings.SECURE_REDIRECT_EXEMPT
    if not isinstance(patterns, list | tuple):
        return False
    return any(isinstance(one, str | re.Pattern) and re.search(one, path) for one in patterns)


def _www_redirect() -> Iterator[CheckMessage]:
    if settings.PREPEND_WWW and _COMMON in _middleware():
        yield Warning(
            "PREPEND_WWW redirects each delivery to a host without 'www.', which loses it.",
            hint="Let the address of the webhook in Perfsee begin with 'www.', and silence this.",
            id="perfsee_webhooks.W021",
        )


def _body_size() -> Iterator[CheckMessage]:
    """Warn only where there is middleware that may read the body: the receiver asks no limit."""
    limit: Any = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    others = [name for name in _middleware() if not name.startswith("django.")]
    if not others or not isinstance(limit, int) or not is_sound():
        return
    if limit < webhook_settings.max_body_bytes:
        yield Warning(
            "DATA_UPLOAD_MAX_MEMORY_SIZE is below MAX_BODY_BYTES of PERFSEE_WEBHOOKS. The receiver "
            "does not heed it, but where a middleware reads the body of a request, Django refuses "
            f"a larger one with 400, and it is lost. Not of Django are: {', '.join(others)}.",
            hint="Raise DATA_UPLOAD_MAX_MEMORY_SIZE to MAX_BODY_BYTES, or silence this where no "
            "middleware reads request.body.",
            id="perfsee_webhooks.W022",
        )

"""Where a site mounts the API, what it tells of itself, and what it needs to be there."""

from __future__ import annotations

import subprocess
import sys

import pytest
from django.urls import include, path, reverse

from .sites import ROOT as ROOT_FOLDER
from .sites import running_environment

pytestmark = pytest.mark.django_db

ROOT = "/api/"


@pytest.fixture
def one(post, body, nothing_runs) -> None:
    """A delivery that is known as "one"."""
    post(body, delivery_id="one")


def test_refusal__names_the_permission_that_is_missing(one, person):
    answer = person("view_delivery").get(ROOT + "deliveries/one/body/")
    assert answer.json()["detail"] == (
        "This needs the permission perfsee_webhooks.view_delivery_body."
    )


def test_root__lists_what_there_is(admin_client):
    listed = admin_client.get(ROOT).json()
    assert list(listed) == [
        "deliveries",
        "export",
        "runs",
        "rejections",
        "replays",
        "stats",
        "schema",
    ]
    assert all(admin_client.get(address).status_code == 200 for address in listed.values())


@pytest.mark.parametrize("query", ["lang=de", "lang=zz", "lang=%00", "lang=../x", "format=none"])
def test_schema__is_answered_whatever_is_asked_of_it(query, admin_client):
    assert admin_client.get(f"{ROOT}schema/?{query}").status_code < 500


# Where a site mounts it

urlpatterns = [
    path("perfsee/", include("perfsee_webhooks.urls")),
    path(
        "v1/",
        include(([path("hooks/", include("perfsee_webhooks.api.urls"))], "v1"), namespace="v1"),
    ),
]


@pytest.mark.urls("tests.test_api")
def test_urls__lead_to_where_the_site_has_mounted_it(one, admin_client):
    root = reverse("v1:perfsee_webhooks_api:api-root")
    assert root == "/v1/hooks/"
    (delivery,) = admin_client.get(f"{root}deliveries/").json()["results"]
    assert delivery["url"] == "http://testserver/v1/hooks/deliveries/one/"
    assert admin_client.get(delivery["url"]).json()["body"] == f"{delivery['url']}body/"
    described = admin_client.get(f"{root}schema/", headers={"Accept": "application/json"}).json()
    assert "/v1/hooks/deliveries/{delivery_id}/" in described["paths"]
    assert {address[:10] for address in described["paths"]} == {"/v1/hooks/"}


STRANGE_SITE = """
import django
from django.conf import settings
from example_project import settings as example

rest_framework = {
    "DEFAULT_FILTER_BACKENDS": ["rest_framework.filters.OrderingFilter"],
    "DEFAULT_PAGINATION_CLASS": "rest_framework.pagination.LimitOffsetPagination",
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.AllowAny"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_SCHEMA_CLASS": "rest_framework.schemas.openapi.AutoSchema",
    "DEFAULT_VERSIONING_CLASS": "rest_framework.versioning.NamespaceVersioning",
    "UNAUTHENTICATED_USER": None,
}
own = {"REST_FRAMEWORK": rest_framework, "PERFSEE_WEBHOOKS": {"SECRETS": ["a long enough secret"]}}
known = {name: getattr(example, name) for name in dir(example) if name.isupper()}
settings.configure(**known | own)
django.setup()

from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
from perfsee_webhooks.samples import sample_body
from perfsee_webhooks.sending import perfsee_headers

call_command("migrate", verbosity=0)
body = sample_body("bundle:finished")
headers = perfsee_headers(body, "a long enough secret", delivery_id="one")
Client().post("/perfsee/webhook/", body, content_type="application/json", headers=headers)
client = Client()
client.force_login(User.objects.create_superuser("root"))
rows = client.get("/api/deliveries/?project=perfsee").json()["results"]
schema = client.get("/api/schema/", headers={"Accept": "application/json"}).json()
print(rows[0]["url"], len(schema["paths"]), Client().get("/api/deliveries/").status_code)
"""


def test_urls__are_the_same_whatever_the_site_has_set_for_its_own_views(tmp_path):
    environment = running_environment(f"sqlite:///{tmp_path / 'site.sqlite3'}")
    told = subprocess.run(
        [sys.executable, "-c", STRANGE_SITE],
        capture_output=True,
        check=True,
        cwd=ROOT_FOLDER,
        env=environment,
        text=True,
    )
    address, paths, status = told.stdout.splitlines()[-1].split()
    assert address == "http://testserver/api/deliveries/one/"
    assert int(paths) > 15
    assert status == "403"


@pytest.mark.parametrize("package", ["rest_framework", "django_filters", "drf_spectacular"])
def test_import__names_the_extra_where_it_is_not_installed(package):
    program = f"""
import sys
import importlib.util as util
find_spec = util.find_spec
util.find_spec = lambda name, *rest: None if name == {package!r} else find_spec(name, *rest)
import perfsee_webhooks.api.urls
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.stderr.splitlines()[-1] == (
        "django.core.exceptions.ImproperlyConfigured: The API of perfsee_webhooks needs "
        f"{package}, not installed here: pip install 'django-perfsee-webhooks[api]'"
    )

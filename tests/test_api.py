"""Who may ask the API for what, where a site mounts it, and what it needs to be there."""

from __future__ import annotations

import subprocess
import sys

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import include, path, reverse

from perfsee_webhooks.api.urls import router
from perfsee_webhooks.models import Delivery, ReceiverRun, Rejection
from perfsee_webhooks.processing import process

from .replays import opened_again
from .sites import ROOT as ROOT_FOLDER
from .sites import running_environment

pytestmark = pytest.mark.django_db

ROOT = "/api/"

PEOPLE = {
    "a stranger": None,
    "staff without rights": (),
    "who views deliveries": ("view_delivery",),
    "who views bodies": ("view_delivery", "view_delivery_body"),
    "who views bodies alone": ("view_delivery_body",),
    "who views runs": ("view_receiverrun",),
    "who views rejections": ("view_rejection",),
    "who views rejections and bodies": ("view_rejection", "view_delivery_body"),
    "who accepts": ("view_rejection", "accept_rejection"),
    "who accepts alone": ("accept_rejection",),
    "who views replays": ("view_replay",),
    "who replays": ("view_delivery", "replay_delivery"),
    "who replays alone": ("replay_delivery",),
    "who changes and deletes": (
        *("add_delivery", "change_delivery", "delete_delivery"),
        *("add_replay", "change_replay", "delete_replay"),
    ),
    "a superuser": ("superuser",),
}

# What each address is answered to whom; everybody else is refused.
DELIVERIES = {"who views deliveries", "who views bodies", "who replays"}
REJECTIONS = {"who views rejections", "who views rejections and bodies", "who accepts"}
ANYBODY = PEOPLE.keys() - {"a stranger"}
LETS_IN = {
    "GET ": ANYBODY,
    "GET schema/": ANYBODY,
    "GET deliveries/": DELIVERIES,
    "GET deliveries/one/": DELIVERIES,
    "GET deliveries/one/body/": {"who views bodies"},
    "GET runs/": {"who views runs"},
    "GET runs/{run}/": {"who views runs"},
    "GET rejections/": REJECTIONS,
    "GET rejections/{rejection}/": REJECTIONS,
    "GET rejections/{rejection}/body/": {"who views rejections and bodies"},
    "POST rejections/{rejection}/accept/": {"who accepts"},
    "GET replays/": {"who views replays"},
    "GET replays/{replay}/": {"who views replays"},
    "POST replays/": {"who replays"},
    "POST replays/plan/": {"who replays"},
    "POST replays/{replay}/pause/": {"who replays"},
    "POST replays/{replay}/resume/": {"who replays"},
    "POST replays/{replay}/cancel/": {"who replays"},
    "GET stats/": DELIVERIES,
}
REFUSED = {401, 403}


@pytest.fixture
def rows(post, body, connect, nothing_runs) -> dict[str, int]:
    """A row of each kind, and the keys of those that have a number."""
    connect()
    post(body, delivery_id="refused", secret="not the secret of this site")
    post(body, delivery_id="one")
    process(Delivery.objects.get().pk)
    replay = opened_again()
    return {
        "run": ReceiverRun.objects.get().pk,
        "rejection": Rejection.objects.get().pk,
        "replay": replay.pk,
    }


def ask(client, operation, rows):
    method, _, address = operation.partition(" ")
    return client.generic(method, ROOT + address.format(**rows), "{}", "application/json")


@pytest.mark.parametrize("operation", LETS_IN)
def test_permissions__let_in_those_who_have_each_right_and_nobody_else(
    operation, rows, django_user_model
):
    let_in = set()
    for name, codenames in PEOPLE.items():
        client = Client()
        if codenames is not None:
            user = django_user_model.objects.create_user(
                name, is_staff=True, is_superuser="superuser" in codenames
            )
            user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
            client.force_login(user)
        answer = ask(client, operation, rows)
        if answer.status_code not in REFUSED:
            assert answer.status_code < 500
            let_in.add(name)
    assert let_in == LETS_IN[operation] | {"a superuser"}


def test_permissions__are_tested_for_each_address(rows):
    known = {
        str(pattern.pattern).replace(
            "(?P<delivery_id>[0-9A-Za-z][0-9A-Za-z._:~=+@-]{0,127})", "one"
        )
        for pattern in router.urls
    }
    tested = {operation.partition(" ")[2] for operation in LETS_IN}
    for noun, key in (("runs", "run"), ("rejections", "rejection"), ("replays", "replay")):
        known = {
            pattern.replace(f"{noun}/(?P<pk>[0-9]{{1,18}})", f"{noun}/{{{key}}}")
            for pattern in known
        }
    assert {pattern.strip("^$") for pattern in known} - tested == {"export/"}


@pytest.mark.parametrize("operation", [name for name in LETS_IN if name.startswith("POST")])
def test_permissions__take_no_session_without_its_csrf_token(operation, rows, admin_user):
    client = Client(enforce_csrf_checks=True)
    client.force_login(admin_user)
    answer = ask(client, operation, rows)
    assert answer.status_code == 403
    assert "CSRF" in answer.json()["detail"]


@pytest.mark.parametrize("address", ["deliveries/one/", "runs/{run}/", "replays/{replay}/"])
@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "POST"])
def test_rows__can_be_changed_by_nobody(method, address, rows, admin_client):
    assert ask(admin_client, f"{method} {address}", rows).status_code == 405


def test_refusal__names_the_permission_that_is_missing(rows, person):
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


@pytest.mark.parametrize("operation", LETS_IN)
def test_options__are_told(operation, rows, admin_client):
    address = operation.partition(" ")[2]
    assert ask(admin_client, f"OPTIONS {address}", rows).status_code == 200
    assert ask(Client(), f"OPTIONS {address}", rows).status_code == 403


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
def test_urls__lead_to_where_the_site_has_mounted_it(rows, admin_client):
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

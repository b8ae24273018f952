"""Who may do what: each address that the URLs lead to, asked by each kind of person.

What is expected is written by hand in one table. Which addresses there are is read from the URL
resolver, so that a new one fails a test until it has a line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import product
from typing import Any, NamedTuple

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.db import transaction
from django.db.models import Model
from django.test import Client, RequestFactory
from django.urls import URLResolver, get_resolver

from perfsee_webhooks import replay
from perfsee_webhooks.admin.export import _KINDS
from perfsee_webhooks.admin.replay import _VERBS
from perfsee_webhooks.models import Delivery, ReceiverRun, Rejection, Replay
from perfsee_webhooks.processing import process
from perfsee_webhooks.sending import perfsee_headers

from .sites import SECRET

pytestmark = pytest.mark.django_db

APP = "perfsee_webhooks"
MODELS = ("delivery", "rejection", "replay", "receiverrun", "heartbeat")
MARKER = b"only-in-the-body"
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")

# By the letter that the table has for it.
RIGHTS = {
    "d": "view_delivery",
    "b": "view_delivery_body",
    "r": "replay_delivery",
    "j": "view_rejection",
    "a": "accept_rejection",
    "p": "view_replay",
    "u": "view_receiverrun",
}
VIEWS = tuple(RIGHTS[letter] for letter in "djpu")
EDITS = tuple(f"{verb}_{model}" for verb in ("add", "change", "delete") for model in MODELS)

# The columns of the table. All but the first two are members of the staff.
PEOPLE = {
    "nobody": (),
    "outsider": (*RIGHTS.values(), *EDITS),
    "newcomer": (),
    "editor": EDITS,
    "viewer": VIEWS,
    "reader": (*VIEWS, "view_delivery_body"),
    "replayer": (*VIEWS, "replay_delivery"),
    "accepter": (*VIEWS, "accept_rejection"),
    "superuser": (),
}

# The rights that it takes (a dash for none, x where none will do), then the status that each person
# gets, in the order of PEOPLE: with a * where the database is another one afterwards, with a +
# where the answer shows what stands in a body alone; `login` leads there.
TABLE = """
/admin/perfsee_webhooks/
GET  delivery/                           d   login login 403  200  200  200  200  200  200
POST delivery/                           d   login login 403  200  200  200  200  200  200
POST delivery/?action=replay_selected    dr  login login 403  200  200  200  302  200  302
POST delivery/?action=delete_selected    x   login login 403  200  200  200  302  200  302
GET  delivery/add/                       x   login login 403  403  403  403  403  403  403
POST delivery/add/                       x   login login 403  403  403  403  403  403  403
GET  delivery/export/csv/                d   login login 403  200  200  200  200  200  200
POST delivery/export/csv/                x   login login 405  405  405  405  405  405  405
GET  delivery/export/ndjson/             d   login login 403  200  200  200  200  200  200
POST delivery/export/ndjson/             x   login login 405  405  405  405  405  405  405
GET  delivery/export/ndjson-with-bodies/ db  login login 403  403  403  200+ 403  403  200+
POST delivery/export/ndjson-with-bodies/ x   login login 405  405  405  405  405  405  405
GET  delivery/overview/                  d   login login 403  200  200  200  200  200  200
POST delivery/overview/                  d   login login 403  200  200  200  200  200  200
GET  delivery/{delivery}/                -   login login 302  302  302  302  302  302  302
POST delivery/{delivery}/                -   login login 302  302  302  302  302  302  302
GET  delivery/{delivery}/change/         d   login login 403  200  200  200+ 200  200  200+
POST delivery/{delivery}/change/         x   login login 403  403  403  403  403  403  403
GET  delivery/{delivery}/delete/         x   login login 403  403  403  403  403  403  403
POST delivery/{delivery}/delete/         x   login login 403  403  403  403  403  403  403
GET  delivery/{delivery}/dry-run/        dr  login login 403  403  403  403  200  403  200
POST delivery/{delivery}/dry-run/        dr  login login 403  403  403  403  200  403  200
GET  delivery/{delivery}/history/        d   login login 403  200  200  200  200  200  200
POST delivery/{delivery}/history/        d   login login 403  200  200  200  200  200  200
GET  rejection/                          j   login login 403  200  200  200  200  200  200
POST rejection/                          j   login login 403  200  200  200  200  200  200
POST rejection/?action=delete_selected   x   login login 403  200  200  200  200  200  200
GET  rejection/add/                      x   login login 403  403  403  403  403  403  403
POST rejection/add/                      x   login login 403  403  403  403  403  403  403
GET  rejection/{rejection}/              -   login login 302  302  302  302  302  302  302
POST rejection/{rejection}/              -   login login 302  302  302  302  302  302  302
GET  rejection/{rejection}/accept/       x   login login 403  403  403  403  403  405  405
POST rejection/{rejection}/accept/       ja  login login 403  403  403  403  403  302* 302*
GET  rejection/{rejection}/change/       j   login login 403  200  200  200+ 200  200  200+
POST rejection/{rejection}/change/       x   login login 403  403  403  403  403  403  403
GET  rejection/{rejection}/delete/       x   login login 403  403  403  403  403  403  403
POST rejection/{rejection}/delete/       x   login login 403  403  403  403  403  403  403
GET  rejection/{rejection}/history/      j   login login 403  200  200  200  200  200  200
POST rejection/{rejection}/history/      j   login login 403  200  200  200  200  200  200
GET  replay/                             p   login login 403  200  200  200  200  200  200
POST replay/                             p   login login 403  200  200  200  200  200  200
POST replay/?action=delete_selected      x   login login 403  200  200  200  200  200  200
GET  replay/add/                         x   login login 403  403  403  403  403  403  403
POST replay/add/                         x   login login 403  403  403  403  403  403  403
GET  replay/plan/                        dr  login login 403  403  403  403  200  403  200
POST replay/plan/                        dr  login login 403  403  403  403  302* 403  302*
GET  replay/{replay}/                    -   login login 302  302  302  302  302  302  302
POST replay/{replay}/                    -   login login 302  302  302  302  302  302  302
GET  replay/{replay}/change/             p   login login 403  200  200  200  200  200  200
POST replay/{replay}/change/             x   login login 403  403  403  403  403  403  403
GET  replay/{replay}/delete/             x   login login 403  403  403  403  403  403  403
POST replay/{replay}/delete/             x   login login 403  403  403  403  403  403  403
GET  replay/{replay}/do/cancel/          x   login login 405  405  405  405  405  405  405
POST replay/{replay}/do/cancel/          dr  login login 403  403  403  403  302* 403  302*
GET  replay/{replay}/do/continue/        x   login login 405  405  405  405  405  405  405
POST replay/{replay}/do/continue/        dr  login login 403  403  403  403  302* 403  302*
GET  replay/{replay}/do/pause/           x   login login 405  405  405  405  405  405  405
POST replay/{replay}/do/pause/           dr  login login 403  403  403  403  302* 403  302*
GET  replay/{replay}/do/resume/          x   login login 405  405  405  405  405  405  405
POST replay/{replay}/do/resume/          dr  login login 403  403  403  403  302* 403  302*
GET  replay/{replay}/history/            p   login login 403  200  200  200  200  200  200
POST replay/{replay}/history/            p   login login 403  200  200  200  200  200  200
GET  replay/{replay}/progress/           p   login login 403  200  200  200  200  200  200
POST replay/{replay}/progress/           p   login login 403  200  200  200  200  200  200
/api/
GET                                      -   403   200   200  200  200  200  200  200  200
GET  schema/                             -   403   200   200  200  200  200  200  200  200
GET  deliveries/                         d   403   200   403  403  200  200  200  200  200
GET  deliveries/{deliveries}/            d   403   200   403  403  200  200  200  200  200
GET  deliveries/{deliveries}/body/       db  403   200+  403  403  403  200+ 403  403  200+
GET  export/                             d   403   200   403  403  200  200  200  200  200
GET  export/?with_body=true              db  403   200+  403  403  403  200+ 403  403  200+
GET  runs/                               u   403   200   403  403  200  200  200  200  200
GET  runs/{runs}/                        u   403   200   403  403  200  200  200  200  200
GET  rejections/                         j   403   200   403  403  200  200  200  200  200
GET  rejections/{rejections}/            j   403   200   403  403  200  200  200  200  200
GET  rejections/{rejections}/body/       jb  403   200+  403  403  403  200+ 403  403  200+
POST rejections/{rejections}/accept/     ja  403   200*  403  403  403  403  403  200* 200*
GET  replays/                            p   403   200   403  403  200  200  200  200  200
POST replays/                            dr  403   201*  403  403  403  403  201* 403  201*
POST replays/plan/                       dr  403   200   403  403  403  403  200  403  200
GET  replays/{replays}/                  p   403   200   403  403  200  200  200  200  200
POST replays/{replays}/cancel/           dr  403   200*  403  403  403  403  200* 403  200*
POST replays/{replays}/pause/            dr  403   200*  403  403  403  403  200* 403  200*
POST replays/{replays}/resume/           dr  403   200*  403  403  403  403  200* 403  200*
GET  stats/                              d   403   200   403  403  200  200  200  200  200
/perfsee/
GET  webhook                             -   405   405   405  405  405  405  405  405  405
POST webhook                             -   204*  204*  204* 204* 204* 204* 204* 204* 204*
GET  webhook/                            -   405   405   405  405  405  405  405  405  405
POST webhook/                            -   204*  204*  204* 204* 204* 204* 204* 204* 204*
"""


class Line(NamedTuple):
    """A line of the table: the letters of the rights that it takes, and a cell for each person."""

    letters: str
    cells: tuple[str, ...]


def read_table() -> Iterator[tuple[str, Line]]:
    folder = ""
    for text in TABLE.strip().splitlines():
        if text.startswith("/"):
            folder = text
            continue
        *named, letters = text.split()[: -len(PEOPLE)]
        operation = f"{named[0]} {folder}{''.join(named[1:])}"
        yield operation, Line(letters, tuple(text.split()[-len(PEOPLE) :]))


LINES = dict(read_table())
POSTS = [operation for operation in LINES if operation.startswith("POST")]
RECEIVER = {"POST /perfsee/webhook", "POST /perfsee/webhook/"}

# What is sent along, of which the keys are those of the rows.
SENT: dict[str, dict[str, str]] = {
    "POST /admin/perfsee_webhooks/delivery/{delivery}/change/": {"state": "received"},
    "POST /admin/perfsee_webhooks/delivery/{delivery}/delete/": {"post": "yes"},
    "POST /admin/perfsee_webhooks/delivery/{delivery}/dry-run/": {"only": "tests.receiver"},
    "POST /admin/perfsee_webhooks/rejection/{rejection}/delete/": {"post": "yes"},
    "POST /admin/perfsee_webhooks/replay/{replay}/delete/": {"post": "yes"},
    "POST /admin/perfsee_webhooks/replay/plan/": {"up_to": "{delivery}"},
    "POST /api/replays/": {"up_to": "{delivery}"},
}

Rows = dict[str, Any]


@pytest.fixture
def rows(post, body, connect, nothing_runs, webhook_setting, caplog) -> Rows:
    """A row of each kind, by the part of an address that comes before its key.

    The rejection can be accepted, and the replay has a delivery left to open.
    """
    caplog.set_level("CRITICAL", logger="django.request")
    connect(side_effect=RuntimeError("broken"))
    marked = body.replace(b"{", b'{"marker":"%s",' % MARKER, 1)
    webhook_setting(SECRETS=["not set yet, and long enough"], MAX_ATTEMPTS=1)
    assert post(marked, delivery_id="refused").status_code == 400
    webhook_setting(SECRETS=[SECRET])
    post(marked, delivery_id="one")
    delivery = Delivery.objects.get()
    process(delivery.pk)
    rejection = Rejection.objects.get()
    started = replay.start(replay.Selection(), requested_by="somebody")
    return {
        "delivery": delivery.pk,
        "deliveries": delivery.delivery_id,
        **dict.fromkeys(("rejection", "rejections"), rejection.pk),
        **dict.fromkeys(("replay", "replays"), started.pk),
        "runs": ReceiverRun.objects.get().pk,
    }


def client_of(name: str, rights: Iterable[str], **options: Any) -> Client:
    """Return the client of a person, who is logged in unless it is nobody."""
    client = Client(**options)
    if name != "nobody":
        user = User.objects.create_user(
            name, is_staff=name != "outsider", is_superuser=name == "superuser"
        )
        user.user_permissions.set(Permission.objects.filter(codename__in=rights))
        client.force_login(user)
    return client


def stored() -> list[Any]:
    """Return all rows of the app, and of the admin's own log."""
    models: list[type[Model]] = [*apps.get_app_config(APP).get_models(), LogEntry]
    return [list(model._base_manager.order_by("pk").values()) for model in models]


@contextmanager
def taken_back() -> Iterator[None]:
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def ask(client: Client, operation: str, rows: Rows, **headers: str) -> Any:
    """Ask for something as the page or the program does that it is for."""
    method, address = operation.split(" ")
    path, _, action = address.format(**rows).partition("?action=")
    data = {name: text.format(**rows) for name, text in SENT.get(operation, {}).items()}
    if action:
        (model,) = re.findall("[a-z]+(?=/$)", path)
        data = {"action": action, "_selected_action": rows[model], "post": "yes"}
    if method == "POST" and path.startswith("/admin/"):
        return client.post(path, data, headers=headers)
    if operation in RECEIVER:
        signed = perfsee_headers(b"{}", SECRET)
        return client.post(path, b"{}", content_type="application/json", headers=signed)
    return client.generic(method, path, json.dumps(data), "application/json", headers=headers)


def outcome(client: Client, operation: str, rows: Rows, **headers: str) -> str:
    """Ask, and return what a cell of the table says of the answer; it is taken back."""
    with taken_back():
        if operation.endswith("/resume/"):
            Replay.objects.update(state=Replay.State.PAUSED)
        before = stored()
        answer = ask(client, operation, rows, **headers)
        content = b"".join(answer) if answer.streaming else answer.content
        if answer.headers.get("Location", "").startswith("/admin/login/"):
            return "login"
        has_changed, has_body = stored() != before, MARKER in content
        return f"{answer.status_code}{'*' * has_changed}{'+' * has_body}"


# Which addresses there are


def views_of(resolver: URLResolver, before: str = "/") -> Iterator[tuple[str, Any]]:
    for entry in resolver.url_patterns:
        route = before + re.sub(r"^\^|\$$", "", str(entry.pattern))
        if isinstance(entry, URLResolver):
            yield from views_of(entry, route)
        else:
            yield route, entry.callback


def is_of_this_app(route: str, view: Any) -> bool:
    cls = getattr(view, "cls", None) or getattr(view, "view_class", view)
    return f"/{APP}/" in route or cls.__module__.startswith(f"{APP}.")


def addresses_of(route: str) -> Iterator[str]:
    """Yield a route with the names of rows for keys, once for each verb and kind that it takes."""
    key = r"<(?:int|path):\w+>|\(\?P<(?:pk|delivery_id)>[^)]*\)"
    address = re.sub(rf"(\w+)/(?:{key})", r"\1/{\1}", route)
    for verb, kind in product(_VERBS, _KINDS):
        yield address.replace("<str:verb>", verb).replace("<str:kind>", kind)


def methods_of(view: Any) -> set[str]:
    """Return the methods that a view of the API names, and two for any other view."""
    if not hasattr(view, "cls"):
        return {"GET", "POST"}
    named = getattr(view, "actions", None) or dir(view.cls)
    return {method for method in METHODS if method.lower() in named}


def all_operations() -> Iterator[str]:
    for route, view in views_of(get_resolver()):
        if is_of_this_app(route, view):
            for method, address in product(methods_of(view), addresses_of(route)):
                yield f"{method} {address}"
    for model_admin in own_admins():
        for action in model_admin._get_base_actions():
            name = action.name if hasattr(action, "name") else action[1]  # as before Django 6.1
            yield f"POST /admin/{APP}/{model_admin.opts.model_name}/?action={name}"


def own_admins() -> list[Any]:
    return [one for model, one in admin.site._registry.items() if model._meta.app_label == APP]


def test_table__has_a_line_for_each_address_and_method_and_action():
    of_a_query = {"GET /api/export/?with_body=true"}
    assert set(all_operations()) == LINES.keys() - of_a_query


# Who may


@pytest.mark.parametrize("name", PEOPLE)
def test_table__says_what_each_person_gets(name, rows):
    client = client_of(name, PEOPLE[name])
    column = list(PEOPLE).index(name)
    expected = {operation: line.cells[column] for operation, line in LINES.items()}
    assert {operation: outcome(client, operation, rows) for operation in LINES} == expected


@pytest.mark.parametrize("letters", sorted({line.letters for line in LINES.values()} - {"x", "-"}))
def test_rights__those_of_the_table_are_enough(letters, rows):
    client = client_of("someone", [RIGHTS[letter] for letter in letters])
    refused = {"403", "login"}
    mine = {operation: line for operation, line in LINES.items() if line.letters == letters}
    assert mine
    for operation, line in mine.items():
        answer = outcome(client, operation, rows)
        # Without the right to bodies a page is shown without them.
        assert answer.rstrip("+") == line.cells[-1].rstrip("+") not in refused, operation


@pytest.mark.parametrize("letter", RIGHTS)
def test_rights__each_of_the_table_is_needed(letter, rows):
    client = client_of("someone", [right for right in RIGHTS.values() if right != RIGHTS[letter]])
    mine = [operation for operation, line in LINES.items() if letter in line.letters]
    assert mine
    found = {operation: outcome(client, operation, rows) for operation in mine}
    assert set(found.values()) - {"403"} == (
        {"200"} if letter == "r" else set()  # the list, which offers no action then
    ), found


@pytest.mark.parametrize("name", ["nobody", "newcomer", "superuser"])
def test_table__leaves_out_no_method_that_does_anything(name, rows):
    client = client_of(name, PEOPLE[name])
    before = stored()
    for operation in {one for one in LINES if "?" not in one}:
        address = operation.split(" ")[1]
        for method in ("HEAD", "OPTIONS", "TRACE", *METHODS):
            if f"{method} {address}" in LINES:
                continue
            answer = client.generic(method, address.format(**rows), "{}", "application/json")
            line = LINES.get(f"GET {address}")
            if method in METHODS and not address.startswith("/admin/"):
                assert answer.status_code in (403, 405), (method, address)
            elif name == "superuser" and method == "OPTIONS" and address.startswith("/api/"):
                assert answer.status_code == 200, address
            elif name != "superuser" and line and line.letters != "-":
                assert answer.status_code in (302, 403, 405), (method, address)
    assert stored() == before


def test_rows__can_be_added_changed_and_deleted_by_nobody(rf: RequestFactory, admin_user):
    request = rf.get("/")
    request.user = admin_user
    assert len(own_admins()) == 3
    for model_admin in own_admins():
        assert not model_admin.has_add_permission(request)
        assert not model_admin.has_change_permission(request)
        assert not model_admin.has_delete_permission(request)
        assert not model_admin.inlines


@pytest.mark.parametrize(("name", "status"), [("nobody", 302), ("newcomer", 403), ("viewer", 200)])
def test_autocomplete__of_the_admin_takes_the_right_to_view(name, status, rows):
    """An address of Django's own, which looks for rows by a field that leads to them."""
    asked = {"app_label": APP, "model_name": "rejection", "field_name": "accepted_as", "term": ""}
    answer = client_of(name, PEOPLE[name]).get("/admin/autocomplete/", asked)
    assert answer.status_code == status


# Requests that other sites have a browser send


def test_csrf__no_session_is_taken_without_its_token(rows):
    client = client_of("superuser", (), enforce_csrf_checks=True)
    found = {operation: outcome(client, operation, rows) for operation in POSTS}
    taken = {operation: cell for operation, cell in found.items() if cell != "403"}
    # The receiver asks for no session, and is the only one that asks for no token.
    assert taken == dict.fromkeys(RECEIVER, "204*")


def test_csrf__a_session_is_taken_with_its_token(rows):
    client = client_of("superuser", (), enforce_csrf_checks=True)
    token = client.get("/admin/password_change/").cookies["csrftoken"].value
    expected = {operation: LINES[operation].cells[-1] for operation in POSTS}
    headers = {"X-CSRFToken": token}
    assert {one: outcome(client, one, rows, **headers) for one in POSTS} == expected


def test_csrf__the_receiver_is_the_only_view_that_is_exempt():
    exempt = {
        route
        for route, view in views_of(get_resolver())
        if getattr(view, "csrf_exempt", False)
        # REST framework checks the token itself, where a session says who asks.
        and not hasattr(view, "cls")
    }
    assert {f"POST {route}" for route in exempt} == RECEIVER

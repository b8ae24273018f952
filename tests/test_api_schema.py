"""The API against its own description: whatever is asked, it answers as OpenAPI says it does."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

import pytest
import schemathesis
from django.core.management import call_command
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections
from django.urls import Resolver404, resolve
from drf_spectacular.generators import SchemaGenerator
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from schemathesis.checks import CHECKS
from schemathesis.generation import GenerationMode

from perfsee_webhooks.models import Delivery, ReceiverRun, Rejection, Replay
from perfsee_webhooks.processing import process

from .replays import opened_again

pytestmark = pytest.mark.django_db

EXAMPLES = 12
PASSWORD = "the password of the test"
AUTHORIZATION = "Basic " + base64.b64encode(f"root:{PASSWORD}".encode()).decode()

# Not whether what is described is accepted, and all else refused: what is asked may name a receiver
# that is not connected, and REST framework takes a number for the text that is described.
CHECKED = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
]


def api() -> Any:
    """The API of the example site, as it is described."""
    described = SchemaGenerator(urlconf="example_project.urls").get_schema(public=True)
    # Written and read again, as a client has it.
    schema = schemathesis.openapi.from_dict(json.loads(json.dumps(described)))
    schema.app = get_wsgi_application()
    return schema


OPERATIONS = {result.ok().label: result.ok() for result in api().get_all_operations()}


def is_address(case: Any) -> bool:
    """Say whether the operation has such an address: others are answered by Django's own page."""
    try:
        found = resolve(unquote(case.formatted_path))
    except Resolver404:
        return False
    return len(found.kwargs) == len(case.path_parameters)


@pytest.fixture
def kept_connection() -> Iterator[None]:
    """Lets requests leave the test's connection open, as those of Django's own client do."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@pytest.fixture
def rows(post, body, connect, nothing_runs, django_user_model) -> dict[str, Any]:
    """A row of each kind, and what the addresses of their details hold."""
    django_user_model.objects.create_superuser("root", password=PASSWORD)
    post(body, delivery_id="rejected", secret="another secret")
    connect(name="fails", side_effect=KeyError("score"))
    for delivery_id in ("one", "two", "pruned"):
        post(body, delivery_id=delivery_id)
        process(Delivery.objects.get(delivery_id=delivery_id).pk)
    Delivery.objects.filter(delivery_id="pruned").update(
        body=b"", body_pruned_at="2026-01-01T00:00:00Z"
    )
    replay = opened_again()
    Replay.objects.update(state=Replay.State.RUNNING)
    return {
        "deliveries": st.sampled_from(["one", "two", "pruned", "none"]),
        "runs": st.just(str(ReceiverRun.objects.latest("pk").pk)),
        "rejections": st.just(str(Rejection.objects.get().pk)),
        "replays": st.just(str(replay.pk)),
    }


@pytest.mark.parametrize("label", sorted(OPERATIONS))
def test_schema__holds_whatever_is_asked(label, rows, kept_connection):
    operation = OPERATIONS[label]
    named = operation.definition.raw["tags"][0]
    cases = st.one_of([operation.as_strategy(mode) for mode in GenerationMode])

    @given(case=cases, known=rows.get(named, st.none()), is_known=st.booleans())
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    def holds(case, known, is_known):
        for name in case.path_parameters if is_known else ():
            case.path_parameters[name] = known
        assume(is_address(case))
        case.call_and_validate(
            headers={"Authorization": AUTHORIZATION}, checks=CHECKS.get_by_names(CHECKED)
        )

    holds()


def test_schema__is_made_without_a_warning(capsys):
    call_command("spectacular", "--fail-on-warn", "--validate")
    assert "perfsee_deliveries_list" in capsys.readouterr().out

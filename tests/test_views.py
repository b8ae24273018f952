from __future__ import annotations

import io
import json

import pytest
from asgiref.sync import async_to_sync
from django.db import DatabaseError, connection
from django.http import HttpRequest, UnreadablePostError
from django.test import AsyncClient, Client, RequestFactory
from django.urls import resolve, reverse

from perfsee_webhooks.models import Delivery, Rejection
from perfsee_webhooks.models import rejection as rejections
from perfsee_webhooks.sending import perfsee_headers
from perfsee_webhooks.signatures import sign
from perfsee_webhooks.views import ReceiveView

from .conftest import PATH
from .sites import SECRET
from .ways import WAYS, client_by


@pytest.fixture(params=WAYS)
def client(request) -> Client:
    """Each test that posts does so in each way to the receiver."""
    return client_by(request.param)


def reason_of(answer) -> str:
    return str(json.loads(answer.content)["error"])


def signed_request(body: bytes) -> HttpRequest:
    headers = perfsee_headers(body, SECRET)
    return RequestFactory().post(PATH, body, content_type="application/json", headers=headers)


def kept_reasons() -> list[str]:
    return list(Rejection.objects.values_list("reason", flat=True))


@pytest.mark.django_db
def test_post__stores_what_came(post, body, no_receivers):
    answer = post(body, delivery_id="one", headers={"Cookie": "session=1", "Authorization": "x"})
    delivery = Delivery.objects.get()
    assert answer.status_code == 204
    assert answer.content == b""
    assert bytes(delivery.body) == body
    assert delivery.delivery_id == "one"
    assert delivery.event_type == "bundle:finished"
    assert delivery.project == "perfsee"
    assert delivery.branch == "feat/webhook"
    assert delivery.commit_hash == "50fae89df58f7e61431268470df5edebad4ba902"
    assert delivery.summary == "main @ feat/webhook passed, score 57"
    assert delivery.verified_by == "SECRETS[0]"
    assert delivery.is_signed
    assert delivery.repeats == 0
    assert delivery.headers["X-Perfsee-Event"] == "bundle:finished"
    assert not {"Cookie", "Authorization"} & set(delivery.headers)


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/perfsee/webhook", "/perfsee/webhook/"])
def test_post__answers_with_and_without_the_last_slash(post, body, path):
    assert post(body, path=path).status_code == 204


def test_reverse__gives_the_form_with_a_slash():
    assert reverse("perfsee_webhooks:receive") == PATH


@pytest.mark.django_db
def test_post__says_how_long_its_refusal_is(post, body):
    answer = post(body, secret="another")
    assert answer["Content-Length"] == str(len(answer.content))


@pytest.mark.parametrize("method", ["get", "put", "patch", "delete", "head", "options", "trace"])
def test_dispatch__answers_405_to_other_methods(client, method):
    answer = getattr(client, method)(PATH)
    assert answer.status_code == 405
    assert answer["Allow"] == "POST"


@pytest.mark.django_db
def test_post__needs_no_csrf_token(body):
    client = Client(enforce_csrf_checks=True)
    headers = perfsee_headers(body, SECRET)
    answer = client.post(PATH, body, content_type="application/json", headers=headers)
    assert answer.status_code == 204


@pytest.mark.django_db
def test_post__works_where_a_login_is_required(post, body, settings):
    settings.MIDDLEWARE = [
        *settings.MIDDLEWARE,
        "django.contrib.auth.middleware.LoginRequiredMiddleware",
    ]
    assert post(body).status_code == 204


def test_as_view__is_outside_the_transaction_of_each_database():
    exempt: set[str] = resolve(PATH).func._non_atomic_requests  # type: ignore[attr-defined]
    assert exempt == {"default"}


@pytest.mark.django_db(transaction=True)
def test_post__has_committed_before_it_answers_under_atomic_requests(
    post, body, no_receivers, monkeypatch
):
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    in_a_transaction = []

    def spy(execute, sql, params, many, context):
        in_a_transaction.append(connection.in_atomic_block)
        return execute(sql, params, many, context)

    with connection.execute_wrapper(spy):
        assert post(body).status_code == 204
    assert in_a_transaction
    assert not in_a_transaction[0]


@pytest.mark.django_db(transaction=True)
def test_post__answers_on_asgi(body, connect):
    receiver = connect()
    headers = perfsee_headers(body, SECRET)
    post = async_to_sync(AsyncClient().post)
    answer = post(PATH, body, content_type="application/json", headers=headers)
    assert answer.status_code == 204
    assert receiver.call_count == 1


@pytest.mark.django_db
def test_post__accepts_the_older_secret_during_rotation(post, body, webhook_setting):
    webhook_setting(SECRETS=["the new secret", SECRET])
    assert post(body).status_code == 204
    assert Delivery.objects.get().verified_by == "SECRETS[1]"


@pytest.mark.django_db
def test_post__knows_a_secret_by_the_hook(post, body, webhook_setting):
    webhook_setting(SECRETS=[], HOOKS={"7": {"SECRETS": ["of hook seven"]}})
    from_seven = {"X-Perfsee-Hook-ID": "7"}
    from_eight = {"X-Perfsee-Hook-ID": "8"}
    assert post(body, secret="of hook seven", headers=from_seven).status_code == 204
    assert post(body, secret="of hook seven", headers=from_eight).status_code == 400
    assert kept_reasons() == ["wrong_signature"]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("patterns", "status"),
    [(["perf*"], 204), (["web-*", "perfsee"], 204), (["web-*"], 400), ([], 400)],
)
def test_post__enforces_the_projects_of_a_hook(post, body, webhook_setting, patterns, status):
    webhook_setting(HOOKS={"7": {"SECRETS": ["of hook seven"], "PROJECTS": patterns}})
    answer = post(body, secret="of hook seven", headers={"X-Perfsee-Hook-ID": "7"})
    assert answer.status_code == status
    assert kept_reasons() == ([] if status == 204 else ["project_not_allowed"])


@pytest.mark.django_db
def test_post__believes_the_signed_project_and_not_the_header(post, body, webhook_setting):
    webhook_setting(HOOKS={"7": {"SECRETS": ["of hook seven"], "PROJECTS": ["web"]}})
    forged = {"X-Perfsee-Hook-ID": "7", "X-Perfsee-Hook-Project": "web"}
    answer = post(body, secret="of hook seven", headers=forged)
    assert reason_of(answer) == "project_not_allowed"
    assert Rejection.objects.get().verified_by == "HOOKS['7'].SECRETS[0]"
    assert bytes(Rejection.objects.get().body) == body


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("signature", "reason"),
    [
        pytest.param(None, "missing_signature", id="missing"),
        pytest.param("", "missing_signature", id="empty"),
        pytest.param("sha1=" + "0" * 40, "malformed_signature", id="other-scheme"),
        pytest.param("sha256=" + "0" * 63, "malformed_signature", id="too-short"),
        pytest.param("sha256=" + "é" * 64, "malformed_signature", id="not-ascii"),
        pytest.param("sha256=" + "0" * 64, "wrong_signature", id="wrong"),
        pytest.param("x" * 100_000, "malformed_signature", id="over-long"),
    ],
)
def test_post__refuses_a_bad_signature(post, body, signature, reason):
    answer = post(body, headers={"X-Perfsee-Signature-256": signature})
    assert answer.status_code == 400
    assert reason_of(answer) == reason
    assert kept_reasons() == [reason]
    assert not Delivery.objects.exists()


@pytest.mark.django_db
def test_post__refuses_a_body_altered_after_signing(post, body):
    signature = {"X-Perfsee-Signature-256": sign(body, SECRET)}
    answer = post(body.replace(b'"score":57', b'"score":99'), headers=signature)
    assert reason_of(answer) == "wrong_signature"


@pytest.mark.django_db
def test_post__stores_unsigned_only_where_that_is_allowed(post, body, webhook_setting):
    assert reason_of(post(body, secret=None)) == "missing_signature"
    webhook_setting(ALLOW_UNSIGNED=True)
    assert post(body, secret=None).status_code == 204
    assert not Delivery.objects.get().is_signed


@pytest.mark.django_db
def test_post__verifies_a_signature_also_where_unsigned_is_allowed(post, body, webhook_setting):
    webhook_setting(ALLOW_UNSIGNED=True)
    assert reason_of(post(body, secret="another")) == "wrong_signature"


@pytest.mark.django_db
@pytest.mark.parametrize("content", [b"", b"not json", b"[]", b'{"a":1}', b'{"eventType":1}'])
def test_post__refuses_malformed_bodies_that_nobody_signed(post, content, webhook_setting):
    webhook_setting(ALLOW_UNSIGNED=True)
    answer = post(content, secret=None)
    assert answer.status_code == 400
    assert reason_of(answer) == "malformed"
    assert kept_reasons() == ["malformed"]


@pytest.mark.django_db
@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"not json", id="not-json"),
        pytest.param(b"[1]", id="no-object"),
        pytest.param(b'{"eventType":null}', id="null-event"),
        pytest.param(b'{"eventType":"bundle:finished","n":NaN}', id="nan"),
        pytest.param(b"[" * 10_000 + b"]" * 10_000, id="deep"),
        pytest.param(b'{"a":' * 10_000 + b"1" + b"}" * 10_000, id="deep-objects"),
        pytest.param(b"\xff\xfe\x00", id="not-utf-8"),
        pytest.param(b'{"eventType":"' + b"9" * 5000 + b'"', id="cut-off"),
    ],
)
def test_post__never_refuses_what_is_signed(post, content, connect):
    receiver = connect()
    assert post(content).status_code == 204
    delivery = Delivery.objects.get()
    assert delivery.event_type == "unknown"
    assert bytes(delivery.body) == content
    assert receiver.call_args.kwargs["event"].type == "unknown"


@pytest.mark.django_db
def test_post__stores_a_number_beyond_every_float(post):
    score = "9" * 400
    content = (
        '{"eventType":"bundle:finished","payload":{"data":{"project":{"artifact":{"score":'
        f"{score}}}}}}}}}}}"
    ).encode()
    assert post(content).status_code == 204
    assert Delivery.objects.get().event_type == "bundle:finished"


@pytest.mark.django_db
@pytest.mark.parametrize("secret", ["l", "long-one", "s"])
def test_post__takes_text_in_place_of_a_list_for_one_secret(post, body, webhook_setting, secret):
    webhook_setting(SECRETS="long-one")
    assert post(body, secret=secret).status_code == (204 if secret == "long-one" else 400)


@pytest.mark.django_db
def test_post__takes_text_in_place_of_a_list_for_one_project(post, body, webhook_setting):
    webhook_setting(HOOKS={"7": {"SECRETS": "of hook seven", "PROJECTS": "other-*"}})
    answer = post(body, secret="of hook seven", headers={"X-Perfsee-Hook-ID": "7"})
    assert reason_of(answer) == "project_not_allowed"


@pytest.mark.django_db
@pytest.mark.parametrize(
    "text", [r"\u0000", r"\ud83d", r"\u001b[31m", r"\u202e", "x" * 70_000, "'\\\"; DROP TABLE"]
)
def test_post__keeps_hostile_text_that_is_signed(post, text):
    written = f'"{text}"' if "DROP" not in text else json.dumps(text)
    content = (
        f'{{"eventType":"bundle:finished","payload":{{"data":{{"project":{{"id":{written},'
        f'"artifact":{{"name":{written},"branch":{written},"hash":{written},'
        f'"failedReason":{written}}}}}}}}}}}'
    ).encode()
    assert post(content).status_code == 204
    assert bytes(Delivery.objects.get().body) == content


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["bundle:started", "x" * 5000, "a\u0000b", "🚀", "<b>"])
def test_post__stores_an_event_that_nobody_knows(post, name, connect):
    receiver = connect()
    assert post(json.dumps({"eventType": name, "payload": {}}).encode()).status_code == 204
    assert receiver.call_count == 1


@pytest.mark.django_db
@pytest.mark.parametrize(
    "delivery_id",
    [None, "", " ", "x" * 129, "a b", "a,b", "../a", "a\x00b", "é", "\xc3\xff", "<script>"],
)
def test_post__refuses_an_unusable_delivery_id(post, body, delivery_id):
    answer = post(body, headers={"X-Perfsee-Delivery": delivery_id})
    assert answer.status_code == 400
    assert reason_of(answer) == "malformed"
    kept = Rejection.objects.get()
    assert kept.verified_by == "SECRETS[0]"
    assert bytes(kept.body) == body


@pytest.mark.django_db
@pytest.mark.parametrize("value", [None, "", "x" * 100_000, "\xc3\xff", "a\x00b", "a, b", "é"])
@pytest.mark.parametrize("name", ["Event", "Hook-ID", "Hook-Project"])
def test_post__survives_any_other_header(post, body, name, value):
    assert post(body, headers={f"X-Perfsee-{name}": value}).status_code == 204


@pytest.mark.django_db
def test_post__counts_a_repeat(post, body, connect):
    receiver = connect()
    assert [post(body, delivery_id="one").status_code for _ in range(3)] == [204, 204, 204]
    delivery = Delivery.objects.get()
    assert delivery.repeats == 2
    assert delivery.last_repeated_at is not None
    assert receiver.call_count == 1


@pytest.mark.django_db
def test_post__takes_two_hooks_with_one_id_for_one_delivery(post, body, webhook_setting):
    webhook_setting(HOOKS={"7": {"SECRETS": ["of hook seven"]}})
    seven = {"X-Perfsee-Hook-ID": "7"}
    assert post(body, delivery_id="one").status_code == 204
    answer = post(body, delivery_id="one", secret="of hook seven", headers=seven)
    assert answer.status_code == 204
    assert Delivery.objects.get().repeats == 1


@pytest.mark.django_db
def test_post__answers_409_to_a_known_id_with_another_body(post, body, connect):
    receiver = connect()
    other = body.replace(b'"score":57', b'"score":99')
    assert post(body, delivery_id="one").status_code == 204
    answer = post(other, delivery_id="one")
    assert answer.status_code == 409
    assert reason_of(answer) == "conflict"
    assert bytes(Delivery.objects.get().body) == body
    assert bytes(Rejection.objects.get().body) == other
    assert Delivery.objects.get().repeats == 0
    assert receiver.call_count == 1


@pytest.fixture
def sent_again(post, body, webhook_setting):
    """A body, and then the same one under another id, on a site that takes each body once."""
    webhook_setting(REFUSE_SAME_BODY=True)
    post(body, delivery_id="one")
    return post(body, delivery_id="two")


@pytest.mark.django_db
def test_post__takes_a_body_under_another_id(post, body):
    assert post(body, delivery_id="one").status_code == 204
    assert post(body, delivery_id="two").status_code == 204
    assert Delivery.objects.count() == 2


@pytest.mark.django_db
def test_post__refuses_a_body_under_another_id_where_that_is_set(sent_again):
    assert sent_again.status_code == 409
    assert reason_of(sent_again) == "same_body"
    assert Delivery.objects.get().delivery_id == "one"
    rejection = Rejection.objects.get()
    assert (rejection.delivery_id, rejection.verified_by) == ("two", "SECRETS[0]")


@pytest.mark.django_db
def test_post__takes_a_repeat_and_another_body_where_each_body_is_taken_once(
    sent_again, post, body
):
    assert post(body, delivery_id="one").status_code == 204
    assert post(body + b" ", delivery_id="three").status_code == 204
    assert Delivery.objects.get(delivery_id="one").repeats == 1


@pytest.mark.django_db
def test_post__counts_a_repeat_of_what_came_twice_before_the_setting(post, body, webhook_setting):
    post(body, delivery_id="one")
    post(body, delivery_id="two")
    webhook_setting(REFUSE_SAME_BODY=True)
    assert post(body, delivery_id="two").status_code == 204
    assert Delivery.objects.get(delivery_id="two").repeats == 1


@pytest.mark.django_db
def test_post__verifies_before_it_looks_an_id_up(post, body):
    assert post(body, delivery_id="one").status_code == 204
    assert post(body, delivery_id="one", secret="another").status_code == 400
    assert Delivery.objects.get().repeats == 0


@pytest.mark.django_db
@pytest.mark.parametrize(("surplus", "status"), [(0, 204), (1, 413)])
def test_post__refuses_a_body_above_the_limit(post, body, webhook_setting, surplus, status):
    webhook_setting(MAX_BODY_BYTES=len(body) - surplus)
    assert post(body).status_code == status
    assert [kept.body_size for kept in Rejection.objects.all()] == [len(body)] * surplus


@pytest.mark.django_db
def test_post__is_not_bound_by_djangos_own_limit(post, settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 10
    assert post(b'{"eventType": "x"}' + b" " * 100_000).status_code == 204


@pytest.mark.django_db
def test_post__reads_a_body_that_a_middleware_has_read(body):
    request = signed_request(body)
    assert request.body == body
    assert ReceiveView.as_view()(request).status_code == 204


@pytest.mark.django_db
def test_post__reads_a_form_that_is_signed(client):
    content = b"a=1&b=2"
    headers = perfsee_headers(content, SECRET) | {
        "Content-Type": "application/x-www-form-urlencoded"
    }
    content_type = headers["Content-Type"]
    answer = client.post(PATH, content, content_type=content_type, headers=headers)
    assert answer.status_code == 204


@pytest.mark.django_db
@pytest.mark.parametrize("declared", ["", "nonsense", "-1", "²", "9" * 5000])
def test_post__survives_a_content_length_that_is_no_number(body, declared):
    request = signed_request(body)
    request.META["CONTENT_LENGTH"] = declared
    assert ReceiveView.as_view()(request).status_code == 204


@pytest.mark.django_db
def test_post__reads_a_body_without_content_length_where_the_server_ends_it(body):
    request = signed_request(body)
    request.META.pop("CONTENT_LENGTH", None)
    request.META |= {"wsgi.input": io.BytesIO(body), "wsgi.input_terminated": True}
    assert ReceiveView.as_view()(request).status_code == 204


@pytest.mark.django_db
def test_post__refuses_a_body_that_broke_off(body, monkeypatch):
    request = signed_request(body)

    def break_off(*args):
        raise UnreadablePostError("the client has gone")

    monkeypatch.setattr(request, "read", break_off)
    answer = ReceiveView.as_view()(request)
    assert answer.status_code == 400
    assert kept_reasons() == ["malformed"]


@pytest.mark.django_db
def test_post__answers_503_where_the_database_does_not_take_it(post, body, caplog):
    def refuse(execute, sql, params, many, context):
        if sql.startswith("INSERT"):
            raise DatabaseError("no space left")
        return execute(sql, params, many, context)

    with connection.execute_wrapper(refuse):
        answer = post(body, delivery_id="one")
    assert answer.status_code == 503
    assert reason_of(answer) == "not_stored"
    assert [
        record.perfsee_delivery_id for record in caplog.records if record.name.startswith("perfsee")
    ] == ["one"]


@pytest.mark.django_db
def test_post__answers_a_refusal_also_where_the_database_does_not_take_it(post, body, caplog):
    def refuse(execute, sql, params, many, context):
        raise DatabaseError("no space left")

    with connection.execute_wrapper(refuse):
        answer = post(body, secret="another")
    assert answer.status_code == 400
    assert "could not be kept" in caplog.text


@pytest.mark.django_db
def test_post__shows_no_secret_in_answer_or_log(post, body, webhook_setting, caplog):
    caplog.set_level("DEBUG")
    webhook_setting(SECRETS=["canary-secret"], HOOKS={"7": {"SECRETS": ["canary-of-seven"]}})
    seven = {"X-Perfsee-Hook-ID": "7"}
    answers = [post(body, secret="wrong"), post(body, secret="wrong", headers=seven)]
    shown = caplog.text + "".join(answer.content.decode() for answer in answers)
    assert "canary" not in shown
    assert sign(body, "canary-secret") not in shown


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("arrange", "statements"),
    [
        pytest.param((), ["INSERT"], id="new"),
        pytest.param(("same",), ["INSERT", "UPDATE"], id="known"),
        pytest.param(("other",), ["INSERT", "UPDATE", "SELECT", "INSERT"], id="conflict"),
    ],
)
def test_post__executes_no_more_statements_than_these(
    post, body, arrange, statements, webhook_setting, django_assert_num_queries
):
    webhook_setting(PROCESSING="tests.test_views.hand_over_nothing")
    for kind in arrange:
        post(body if kind == "same" else body + b" ", delivery_id="one")
    with django_assert_num_queries(len(statements)) as captured:
        post(body, delivery_id="one")
    assert [query["sql"].split()[0] for query in captured] == statements


@pytest.mark.django_db(transaction=True)
def test_post__executes_one_statement_for_a_forged_request(
    post, body, django_assert_num_queries, monkeypatch
):
    monkeypatch.setattr(rejections, "_PRUNE_EVERY", 10**9)
    with django_assert_num_queries(1):
        post(body, secret="another")


def hand_over_nothing(primary_key: int) -> None:
    """Stands for an engine that is told of a delivery without a statement."""

"""Nothing that Perfsee has signed is refused for its content; what nobody could take is a 4xx."""

from __future__ import annotations

from .. import sender
from ..trial import GUESSED, Trial
from .scenario import scenario

_PAGE_BODY = (
    b'{"eventType":"bundle:finished","payload":{"data":{"project":{"slug":"web-shop","artifact":'
    b'{"id":1,"name":"main","hash":"0f3c","branch":"main","status":"Passed","score":57,'
    b'"buildKey":"builds/1","reportKey":"reports/1","contentKey":"contents/1"}}},'
    b'"variables":{"projectId":"web-shop","artifactId":1}}}'
)


def _with_text(text: bytes) -> bytes:
    return (
        b'{"eventType":"bundle:finished","payload":{"data":{"project":{"id":"web-shop","artifact":'
        b'{"id":1,"status":"Failed","failedReason":"' + text + b'"}}},"variables":{}}}'
    )


@scenario
def the_other_generation(trial: Trial) -> None:
    """The payload of Perfsee's page, with keys in place of links, is accepted too."""
    delivery_id = trial.new_id()
    trial.accepts(trial.send(_PAGE_BODY, delivery_id), "the payload of the page")
    trial.keeps(delivery_id, _PAGE_BODY, "bundle:finished")


@scenario
def an_unknown_event(trial: Trial) -> None:
    """More events may come: one that nobody knows yet is kept."""
    delivery_id, body = trial.new_id(), b'{"eventType":"flame:finished","payload":{"data":{}}}'
    trial.accepts(trial.send(body, delivery_id), "an unknown event")
    trial.keeps(delivery_id, body, "flame:finished")


@scenario
def nulls(trial: Trial) -> None:
    """Any object of a GraphQL answer can be null, the project too."""
    for data in (
        b'{"project":null}',
        b'{"project":{"id":"a","artifact":null}}',
        b'{"project":{"id":null,"artifact":{"id":null,"score":null,"baseline":null}}}',
        b"null",
    ):
        delivery_id = trial.new_id()
        body = b'{"eventType":"bundle:finished","payload":{"data":%b,"variables":null}}' % data
        trial.accepts(trial.send(body, delivery_id), f"data {data.decode()}")
        trial.keeps(delivery_id, body, "bundle:finished")


@scenario
def free_text(trial: Trial) -> None:
    """Control characters, NUL, lone surrogates and any script are valid JSON and kept."""
    for text in (
        rb"\u0000 \u001b[31m \u202e \u2028",
        rb"\ud83d alone",
        rb"\udc00\ud800 turned round",
        "🔑 \u202e العربية 中文 e\u0301".encode(),
        b"<script>alert(1)</script> =1+1 ' OR 1=1 --",
        rb"line\r\nof a log",
        b"x" * 100_000,
    ):
        delivery_id, body = trial.new_id(), _with_text(text)
        trial.accepts(trial.send(body, delivery_id), f"the text {text[:20]!r}")
        trial.keeps(delivery_id, body, "bundle:finished")
    trial.works_still()


@scenario
def values_of_other_kinds(trial: Trial) -> None:
    """A signed JSON object is kept, whatever kinds of values it holds and whatever it lacks."""
    for body in (
        b"{}",
        b'{"eventType":"bundle:finished"}',
        b'{"eventType":17,"payload":[]}',
        b'{"eventType":{"a":1},"payload":{"data":"text","variables":[1]}}',
        rb'{"eventType":"\ud83d\u0000","payload":{}}',
        b'{"eventType":"%b","payload":{}}' % (b"x" * 5000),
        b'{"eventType":"bundle:finished","payload":{"data":{"project":{"artifact":{"score":1e999}}}}}',
        b'{"eventType":"bundle:finished","payload":{"data":{"project":[{"artifact":true}]}}}',
    ):
        delivery_id = trial.new_id()
        trial.accepts(trial.send(body, delivery_id), f"the body {body[:40]!r}")
        trial.keeps(delivery_id, body)


@scenario
def what_no_parser_takes(trial: Trial) -> None:
    """A signed body that cannot be read is answered 2xx and kept, or 4xx, but is no error."""
    for body in (
        b"",
        b"not json",
        b'{"eventType":"bundle:finished"',
        b"[]",
        b"17",
        b"\xff\xfe\x00",
        b"\xef\xbb\xbf{}",
        b'{"eventType":NaN}',
        b"[" * 100_000,
        b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
        b'{"number":' + b"9" * 5000 + b"}",
    ):
        delivery_id = trial.new_id()
        answer = trial.send(body, delivery_id)
        trial.copes(answer, f"the body {body[:20]!r}")
        if answer.status < 300:
            trial.keeps(delivery_id, body)
    trial.works_still()


@scenario
def a_large_body(trial: Trial) -> None:
    """A report of a megabyte is accepted, and comes in more than one piece."""
    delivery_id, body = trial.new_id(), _with_text(b"x" * 1_000_000)
    trial.accepts(trial.send(body, delivery_id), "a megabyte")
    trial.keeps(delivery_id, body)


@scenario
def a_body_without_end(trial: Trial) -> None:
    """Twelve megabytes of a stranger are refused, with an answer that arrives."""
    delivery_id = trial.new_id()
    answer = trial.send(b"x" * 12_000_000, delivery_id, secret=GUESSED)
    trial.refuses(answer, "twelve megabytes")
    trial.keeps_nothing(delivery_id)
    trial.works_still()


@scenario
def a_hostile_content_length(trial: Trial) -> None:
    """A length that is no number is refused soon."""
    for length in ("many", "1e3", "9" * 5000, "0x10", "-1"):
        headers = {"Content-Length": length}
        request = trial.request(trial.sample(), trial.new_id(), headers=headers)
        trial.refuses(trial.send_raw(request), f"the length {length[:10]}")
    both = {"Content-Length": [str(len(trial.sample())), "3"]}
    answer = trial.send_raw(trial.request(trial.sample(), trial.new_id(), headers=both))
    trial.copes(answer, "two lengths")
    trial.works_still()


@scenario
def a_body_that_breaks_off(trial: Trial) -> None:
    """Half a body is not acknowledged and not kept."""
    delivery_id = trial.new_id()
    request = trial.request(trial.sample(), delivery_id)
    with sender.connect(trial.receiver.url) as connection:
        connection.sendall(request[:-100])
        connection.shutdown(1)
        status = sender.status_from(connection)
    if status != sender.UNANSWERED:
        trial.refuses(sender.Answer(status=status), "half a body")
    trial.keeps_nothing(delivery_id)
    trial.works_still()

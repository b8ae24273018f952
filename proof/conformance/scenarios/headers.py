"""The headers are signed by nobody: of them only the id counts, and any of them can be hostile."""

from __future__ import annotations

from .. import sender
from ..trial import Trial, Violation
from .scenario import scenario, scenario_at_hand


@scenario
def header_and_body_disagree(trial: Trial) -> None:
    """The event is the one that the signed body names, whatever the header says."""
    delivery_id = trial.new_id()
    headers = {sender.EVENT: "lab:snapshot-completed"}
    trial.accepts(
        trial.send(trial.sample(), delivery_id, headers=headers), "a header that disagrees"
    )
    trial.keeps(delivery_id, trial.sample(), "bundle:finished")


@scenario
def the_event_with_a_dash(trial: Trial) -> None:
    """`bundle-finished` in the header, as Perfsee's page has it, is `bundle:finished`."""
    delivery_id = trial.new_id()
    headers = {sender.EVENT: "bundle-finished"}
    trial.accepts(trial.send(trial.sample(), delivery_id, headers=headers), "an event with a dash")
    trial.keeps(delivery_id, trial.sample(), "bundle:finished")


@scenario
def headers_that_nothing_hangs_on_are_missing(trial: Trial) -> None:
    """A signed body with an id is enough, where a proxy has dropped the other headers."""
    names = (sender.EVENT, sender.HOOK_ID, sender.PROJECT, "User-Agent", "Accept", "Content-Type")
    delivery_id = trial.new_id()
    headers = dict.fromkeys(names)
    trial.accepts(
        trial.send(trial.sample(), delivery_id, headers=headers), "no header but the needed"
    )
    trial.keeps(delivery_id, trial.sample(), "bundle:finished")


@scenario
def names_of_headers_in_any_case(trial: Trial) -> None:
    """A proxy may write the names of headers in small letters, as HTTP/2 does."""
    delivery_id = trial.new_id()
    usual = sender.perfsee_headers(trial.sample(), delivery_id, trial.secret)
    for written in (str.lower, str.upper):
        headers = {written(name): value for name, value in usual.items()}
        request = sender.encode(trial.receiver.url, "POST", trial.sample(), headers)
        trial.accepts(trial.send_raw(request), "headers in another case")
    trial.keeps(delivery_id, trial.sample(), "bundle:finished")


@scenario
def another_content_type(trial: Trial) -> None:
    """How the body is labelled makes no difference: it is signed."""
    for content_type in (
        "application/json; charset=utf-8",
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "nonsense",
    ):
        delivery_id = trial.new_id()
        answer = trial.send(trial.sample(), delivery_id, headers={"Content-Type": content_type})
        trial.accepts(answer, f"the content type {content_type}")
        trial.keeps(delivery_id, trial.sample())


@scenario
def no_delivery_id(trial: Trial) -> None:
    """Without an id a repeat cannot be told, so a request without one is refused."""
    trial.refuses(trial.send(trial.sample(), "", headers={sender.DELIVERY: None}), "no delivery id")
    trial.refuses(trial.send(trial.sample(), ""), "an empty delivery id")


@scenario
def a_hostile_delivery_id(trial: Trial) -> None:
    """Whatever the id is, the answer is a 2xx or a 4xx, and the next delivery is accepted."""
    for delivery_id in (
        "x" * 4000,
        "../../../../etc/passwd",
        "/absolute/path",
        "..",
        "a/b\\c",
        "%2e%2e%2f",
        "one\ttwo",
        "\x1b[31mred",
        "\xc3\xff\xfe",
        "' OR '1'='1",
        "=HYPERLINK(1)",
        "<script>alert(1)</script>",
        "${jndi:ldap://127.0.0.1/a}",
    ):
        trial.copes(trial.send(trial.sample(), delivery_id), f"the id {delivery_id[:30]!r}")
    both = [trial.new_id(), trial.new_id()]
    trial.copes(trial.send(trial.sample(), "", headers={sender.DELIVERY: both}), "two ids")
    trial.works_still()


@scenario_at_hand
def a_path_as_delivery_id(trial: Trial) -> None:
    """No file is written where the delivery id leads."""
    for path in ("../escaped", str(trial.control.folder / "escaped")):
        trial.copes(trial.send(trial.sample(), path), "an id that is a path")
    if any(trial.control.folder.glob("escaped*")):
        raise Violation("no file where the id leads", "one")


@scenario
def other_hostile_headers(trial: Trial) -> None:
    """A signed body with an id is accepted and kept, whatever the other headers hold."""
    names = (sender.EVENT, sender.HOOK_ID, sender.PROJECT)
    for value in ("\xff\xfe\xfd", "x" * 4000, "' OR '1'='1", "a\tb", "<b>&", "\x85 \xa0"):
        delivery_id = trial.new_id()
        headers = dict.fromkeys(names, value)
        trial.accepts(
            trial.send(trial.sample(), delivery_id, headers=headers), f"headers {value[:20]!r}"
        )
        trial.keeps(delivery_id, trial.sample(), "bundle:finished")
    # No HTTP client sends these, and a server may refuse them.
    for value in ("\x1b[2J", "\x00", "\x7f"):
        headers = dict.fromkeys(names, value)
        trial.copes(
            trial.send(trial.sample(), trial.new_id(), headers=headers), f"headers {value!r}"
        )

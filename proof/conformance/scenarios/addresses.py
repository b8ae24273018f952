"""Perfsee follows a redirect, which makes a POST a GET without a body: so there has to be none."""

from __future__ import annotations

from .. import sender
from ..trial import Trial
from .scenario import scenario


@scenario
def with_and_without_the_last_slash(trial: Trial) -> None:
    """Both forms of the address take the delivery themselves, without a redirect."""
    address = trial.receiver.url.rstrip("/")
    for url in (address, address + "/"):
        delivery_id = trial.new_id()
        headers = sender.perfsee_headers(trial.sample(), delivery_id, trial.secret)
        request = sender.encode(url, "POST", trial.sample(), headers)
        trial.accepts(trial.send_raw(request, url), f"the address {url.rpartition('/')[2]!r}")
        trial.keeps(delivery_id, trial.sample())


@scenario
def anything_but_post(trial: Trial) -> None:
    """GET and the other methods are refused: a 200 to a redirected delivery would hide its loss."""
    for method in ("GET", "HEAD", "PUT", "DELETE"):
        delivery_id = trial.new_id()
        request = trial.request(trial.sample(), delivery_id, method=method)
        trial.refuses(trial.send_raw(request), method)
        trial.keeps_nothing(delivery_id)

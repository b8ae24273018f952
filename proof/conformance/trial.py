"""The hands and eyes of a scenario: it sends, and says what it expects."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from . import sender
from .effects import MOODY, PLAIN, STEADY
from .receiver import Receiver, ReceiverAtHand
from .sender import Answer, Headers

_SAMPLES: Final = Path(__file__).parents[2] / "perfsee_webhooks" / "samples"
EVENTS: Final = {
    "bundle:finished": "bundle-finished.json",
    "lab:snapshot-completed": "lab-snapshot-completed.json",
    "lab:snapshot-report-completed": "lab-snapshot-report-completed.json",
    "source:finished": "source-finished.json",
}
POLL_SECONDS: Final = 0.01

# A secret that no receiver knows.
GUESSED: Final = "guessed"


class Violation(Exception):
    """What a scenario asked for and what it saw; `is_loss` if it is an acknowledged delivery."""

    def __init__(self, expected: str, seen: str, *, is_loss: bool = False) -> None:
        super().__init__(f"expected {expected}, saw {seen}")
        self.is_loss = is_loss


@dataclass(frozen=True, slots=True)
class Trial:
    """One run of one scenario.

    Of a receiver that is only an address, what it keeps and does cannot be seen: then what is
    expected of that is met by anything.
    """

    receiver: Receiver
    at_hand: ReceiverAtHand | None = None
    nonce: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def control(self) -> ReceiverAtHand:
        """The receiver, for a scenario that runs only where it is at hand."""
        if self.at_hand is None:
            raise TypeError("This scenario needs a receiver that is at hand.")
        return self.at_hand

    @property
    def secret(self) -> str:
        """The newest secret that the receiver knows."""
        return self.receiver.secrets[0]

    def new_id(self, mood: str = PLAIN) -> str:
        """Return a delivery id that nobody has seen."""
        return f"{mood}-{uuid.uuid4()}"

    def sample(self, event_type: str = "bundle:finished", nonce: str = "") -> bytes:
        """Return the body of an event as Perfsee's server writes it, of this trial alone."""
        body = (_SAMPLES / EVENTS[event_type]).read_bytes()
        return body.replace(
            b'"payload":', b'"trial":"%b","payload":' % (nonce or self.nonce).encode(), 1
        )

    def request(
        self,
        body: bytes,
        delivery_id: str,
        *,
        secret: str | None = None,
        headers: Headers | None = None,
        method: str = "POST",
    ) -> bytes:
        """Return a signed request; `headers` replace those of Perfsee, None leaves one out."""
        usual = sender.perfsee_headers(body, delivery_id, secret or self.secret)
        return sender.encode(self.receiver.url, method, body, {**usual, **(headers or {})})

    def send(
        self,
        body: bytes,
        delivery_id: str,
        *,
        secret: str | None = None,
        headers: Headers | None = None,
        timeout_seconds: float = sender.TIMEOUT_SECONDS,
    ) -> Answer:
        """Send a signed request and return the answer."""
        request = self.request(body, delivery_id, secret=secret, headers=headers)
        return sender.send(self.receiver.url, request, timeout_seconds)

    def send_raw(self, request: bytes, url: str | None = None) -> Answer:
        """Send bytes as they are, which every receiver has to answer soon."""
        return sender.send(url or self.receiver.url, request, timeout_seconds=5)

    def send_at_once(self, requests: Iterable[bytes]) -> list[Answer]:
        """Send requests from as many threads, and return the answers in their order."""
        each = list(requests)
        with ThreadPoolExecutor(len(each)) as pool:
            return list(pool.map(lambda request: sender.send(self.receiver.url, request), each))

    def accepts(self, answer: Answer, what: str = "a signed delivery") -> None:
        """Expect a 2xx."""
        if not 200 <= answer.status < 300:
            raise Violation(f"a 2xx to {what}", str(answer))

    def refuses(self, answer: Answer, what: str) -> None:
        """Expect a 4xx: an answer, and one that says whose fault it is."""
        if not 400 <= answer.status < 500:
            raise Violation(f"a 4xx to {what}", str(answer))

    def copes(self, answer: Answer, what: str) -> None:
        """Expect an answer of whatever kind, but no error of the receiver's own."""
        if not (200 <= answer.status < 300 or 400 <= answer.status < 500):
            raise Violation(f"a 2xx or a 4xx to {what}", str(answer))

    def keeps(self, delivery_id: str, body: bytes, event_type: str | None = None) -> None:
        """Expect one row with the exact bytes and, if given, the event."""
        if self.at_hand is None:
            return
        self._wait(lambda control: bool(control.stored(delivery_id)))
        rows = self.at_hand.stored(delivery_id)
        if not rows:
            raise Violation("the delivery to be stored", "nothing", is_loss=True)
        if [row.body for row in rows] != [body]:
            raise Violation(
                "one row with the exact bytes", f"{len(rows)} of {[len(row.body) for row in rows]}"
            )
        if event_type is not None and rows[0].event_type != event_type:
            raise Violation(f"the event {event_type}", repr(rows[0].event_type))

    def keeps_nothing(self, delivery_id: str) -> None:
        """Expect no row under an id."""
        if self.at_hand is not None and self.at_hand.stored(delivery_id):
            raise Violation("nothing to be stored", f"a row for {delivery_id[:60]!r}")

    def does(self, delivery_id: str, *, moody: int = 1, steady: int = 1) -> None:
        """Expect the effects to be done so often, once nothing is left to be done."""
        if self.at_hand is None:
            return
        self._wait(lambda control: control.is_settled(delivery_id))
        done = self.at_hand.effects(delivery_id)
        if (done[MOODY], done[STEADY]) != (moody, steady):
            raise Violation(
                f"effects done {moody} and {steady} times",
                f"{done[MOODY]} and {done[STEADY]}",
                is_loss=done[MOODY] < moody or done[STEADY] < steady,
            )

    def works_still(self) -> None:
        """Expect a new delivery to be accepted, kept and done, whatever came before."""
        delivery_id = self.new_id()
        body = self.sample(nonce=delivery_id)
        self.accepts(self.send(body, delivery_id), "the next delivery")
        self.keeps(delivery_id, body)
        self.does(delivery_id)

    def _wait(self, is_so: Callable[[ReceiverAtHand], bool]) -> None:
        deadline = time.monotonic() + self.control.patience_seconds
        while not is_so(self.control) and time.monotonic() < deadline:
            self.control.revive()
            time.sleep(POLL_SECONDS)

"""The form that a replay is planned with."""

from __future__ import annotations

import re
from typing import Any, Final

from django import forms
from django.core.exceptions import ValidationError
from django.http import QueryDict

from .. import replay
from ..models import Delivery, Replay
from ..models.replay import MAX_REASON_LENGTH
from ..replay import MAX_BATCH_SIZE
from ..signals import connected_receivers

_SELECTION: Final = (
    "event",
    "other_events",
    "project",
    "hook",
    "failure_group",
    "replay",
    "search",
    "received_from",
    "received_before",
    "up_to",
)
EARLIEST_YEAR: Final = 2000

# What a browser writes and reads in a field of type datetime-local, in the zone of the site.
MOMENT_FORMAT: Final = "%Y-%m-%dT%H:%M:%S"
_KEYS: Final = re.compile(r"[0-9]{1,18}(,[0-9]{1,18})*")
_MOST: Final = 2_000_000_000
_WIDE: Final = {"class": "vTextField"}


class _Moment(forms.DateTimeInput):
    input_type = "datetime-local"

    def __init__(self) -> None:
        super().__init__(format=MOMENT_FORMAT, attrs={"step": "1"})


def _connected() -> list[tuple[str, str]]:
    return [(receiver.label, receiver.label) for receiver in connected_receivers(sender=Delivery)]


class PlanForm(forms.Form):
    """Which deliveries, to which receivers, and how fast; what is left empty limits nothing."""

    keys = forms.CharField(required=False, widget=forms.HiddenInput)
    other_events = forms.BooleanField(required=False, widget=forms.HiddenInput)
    replay = forms.IntegerField(
        required=False, min_value=1, max_value=_MOST, widget=forms.HiddenInput
    )
    up_to = forms.IntegerField(
        required=False, min_value=0, max_value=2**63 - 1, widget=forms.HiddenInput
    )

    event = forms.CharField(
        required=False, max_length=200, help_text="A pattern such as bundle:*,lab:*"
    )
    project = forms.CharField(required=False, max_length=100, strip=False, help_text="Its slug.")
    hook = forms.CharField(required=False, max_length=100, strip=False, help_text="Its id.")
    states = forms.MultipleChoiceField(
        required=False, choices=Delivery.State, widget=forms.CheckboxSelectMultiple
    )
    received_from = forms.DateTimeField(required=False, widget=_Moment)
    received_before = forms.DateTimeField(required=False, widget=_Moment)
    failure_group = forms.CharField(
        required=False, max_length=16, help_text="Still failing like this group of the overview."
    )
    search = forms.CharField(
        required=False,
        max_length=200,
        help_text="The beginning of a delivery id, hook id, project, commit hash or branch.",
    )

    receivers = forms.ChoiceField(choices=Replay.Receivers, widget=forms.RadioSelect)
    only = forms.MultipleChoiceField(
        required=False,
        choices=_connected,
        label="Only these receivers",
        help_text="None ticked: any. A receiver that is new runs on what came before it.",
        widget=forms.CheckboxSelectMultiple,
    )

    limit = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=_MOST,
        label="At most",
        help_text="Deliveries, the oldest first.",
    )
    batch_size = forms.IntegerField(
        min_value=1,
        max_value=MAX_BATCH_SIZE,
        label="At once",
        help_text="How many are opened at a time.",
    )
    per_minute = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=_MOST,
        label="In a minute",
        help_text="At most; empty: no limit.",
    )

    given: QueryDict
    WHICH: Final = (
        "event",
        "project",
        "hook",
        "states",
        "received_from",
        "received_before",
        "failure_group",
        "search",
    )
    TO_WHOM: Final = ("receivers", "only")
    HOW: Final = ("limit", "batch_size", "per_minute")

    @classmethod
    def prefilled(cls, entered: QueryDict) -> PlanForm:
        """Return the form as an address gives it, with the defaults for what it leaves out."""
        given = entered.copy()
        given.setdefault("receivers", Replay.Receivers.FAILED)
        given.setdefault("batch_size", str(replay.BATCH_SIZE))
        form = cls(given)
        form.given = given
        return form

    def clean(self) -> dict[str, Any]:
        """Make the selection and the order of what was entered."""
        entered = super().clean() or self.cleaned_data
        for name in ("received_from", "received_before"):
            moment = entered.get(name)
            if moment is not None and moment.year < EARLIEST_YEAR:
                self.add_error(name, f"No delivery is from before {EARLIEST_YEAR}.")
        if self.errors:
            return entered
        try:
            self.selection = replay.Selection(
                primary_keys=_primary_keys(entered["keys"]),
                states=tuple(entered["states"]),
                **{name: entered[name] for name in _SELECTION},
            )
            self.order = replay.Order(
                receivers=Replay.Receivers(entered["receivers"]),
                only=tuple(entered["only"]),
                **{name: entered[name] for name in self.HOW},
            )
        except ValueError as error:
            raise ValidationError(str(error)) from error
        return entered

    @property
    def which(self) -> list[forms.BoundField]:
        """The fields that say which deliveries."""
        return [self[name] for name in self.WHICH]

    @property
    def how(self) -> list[forms.BoundField]:
        """The fields that say how many and how fast."""
        return [self[name] for name in self.HOW]


class StartForm(forms.Form):
    """What is asked at last."""

    reason = forms.CharField(
        required=False,
        max_length=MAX_REASON_LENGTH,
        help_text="Kept with the replay.",
        widget=forms.TextInput(attrs=_WIDE),
    )


def _primary_keys(text: str) -> tuple[int, ...] | None:
    """Return the numbers of a text, None for none at all. Raises ValueError."""
    if text and not _KEYS.fullmatch(text):
        raise ValueError("Deliveries are named one by one by their numbers, with commas between.")
    return tuple(int(key) for key in text.split(",")) if text else None

"""The arguments that choose deliveries, the same for each command that takes any."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from django.core.management.base import CommandError, CommandParser
from django.utils.dateparse import parse_datetime

from perfsee_webhooks.models import Delivery
from perfsee_webhooks.selection import Selection

_TEXTS: Final = ("event", "project", "hook", "failure_group")


def add_selection(parser: CommandParser) -> None:
    """Declare the arguments that choose deliveries."""
    which = parser.add_argument_group("which deliveries (every one, if nothing is said)")
    which.add_argument(
        "--id", action="append", default=[], help="the id that Perfsee gave it; repeatable"
    )
    which.add_argument("--event", help="a pattern such as 'bundle:*,lab:*'")
    which.add_argument("--project", help="the slug of its project")
    which.add_argument("--hook", help="the id of its hook")
    which.add_argument(
        "--state", action="append", default=[], choices=Delivery.State.values, help="repeatable"
    )
    which.add_argument("--from", dest="received_from", type=_moment, help="received then or later")
    which.add_argument("--before", dest="received_before", type=_moment, help="received before")
    which.add_argument("--failure-group", help="a key from the admin's overview")


def selection_of(options: dict[str, Any]) -> Selection:
    """Return the selection that the arguments stand for.

    Raises:
        CommandError: an id is not known, the pattern names no event, or an argument is empty.
    """
    for name in _TEXTS:
        if options[name] == "":
            # As of a variable of the shell that is not set.
            argument = name.replace("_", "-")
            raise CommandError(
                f"--{argument} is empty: leave it out if it is to select every delivery.",
                returncode=2,
            )
    try:
        return Selection(
            primary_keys=_primary_keys(options["id"]) if options["id"] else None,
            event=options["event"] or "",
            project=options["project"] or "",
            hook=options["hook"] or "",
            states=tuple(options["state"]),
            received_from=options["received_from"],
            received_before=options["received_before"],
            failure_group=options["failure_group"] or "",
        )
    except ValueError as error:
        raise CommandError(str(error), returncode=2) from error


def _primary_keys(delivery_ids: list[str]) -> tuple[int, ...]:
    found = Delivery.objects.on_primary().filter(delivery_id__in=delivery_ids)
    keys = dict(found.values_list("delivery_id", "pk"))
    missing = [delivery_id for delivery_id in delivery_ids if delivery_id not in keys]
    if missing:
        raise CommandError(f"No delivery has the id {missing[0]}.", returncode=2)
    return tuple(keys.values())


def _moment(text: str) -> datetime:
    moment = parse_datetime(text)
    if moment is None:
        raise ValueError(text)
    return moment


_moment.__name__ = "moment, as in 2026-11-24T12:00:00"

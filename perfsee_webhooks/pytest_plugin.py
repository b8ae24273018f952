"""Fixtures for a site's own tests, which pytest finds wherever the app is installed.

They import the app only when a test asks for one, since pytest loads this before Django is set up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from django.http import HttpResponse
    from django.test import Client

    from .testing import Collected


@pytest.fixture
def perfsee_post(client: Client, db: None) -> Callable[..., HttpResponse]:  # noqa: ARG001  # used
    """Posts signed deliveries to the site: `perfsee_post("bundle:finished", score=41)`.

    It is `testing.signed_post` with pytest-django's `client`.
    """
    from .testing import signed_post

    return partial(signed_post, client)


@pytest.fixture
def perfsee_collected() -> Iterator[list[Collected]]:
    """The deliveries that receivers were given in the test, with their events."""
    from .testing import collected

    with collected() as found:
        yield found

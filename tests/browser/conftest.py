"""A browser, and the example site of a shop for it to visit.

What pytest-playwright keeps for the session is kept for this package here: while Playwright runs,
an event loop runs in the thread of the tests, and in it neither Django's database nor an async
receiver could be used by the tests that follow.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    Playwright,
    ViewportSize,
    expect,
    sync_playwright,
)

from perfsee_webhooks import sending
from perfsee_webhooks.samples import sample_body

from ..conftest import new_database
from ..sites import GUNICORN_THREADS, SECRET, Site, running_site
from .chat import Chat, running_chat
from .watch import Watch

CHROMIUM = "/usr/bin/chromium"
WIDE: ViewportSize = {"width": 1280, "height": 900}
ADMIN = "/admin/perfsee_webhooks"
DELIVERIES = f"{ADMIN}/delivery/"
REJECTIONS = f"{ADMIN}/rejection/"
REPLAYS = f"{ADMIN}/replay/"
PLAN = f"{REPLAYS}plan/"
OVERVIEW = f"{DELIVERIES}overview/"

# For what takes no more than a moment, on a machine that is busy with other tests.
PATIENCE_MILLISECONDS = 30_000
expect.set_options(timeout=PATIENCE_MILLISECONDS)

# As behind most proxies, each request has a connection of its own: what the server does after an
# answer would hold up the next request on the same one.
SERVER = (*GUNICORN_THREADS[:-1], "--keep-alive=0", GUNICORN_THREADS[-1])


@dataclass(frozen=True, kw_only=True)
class Shop:
    """The running site with its chat, and the keys of its people's sessions and of some rows."""

    site: Site
    chat: Chat
    sessions: dict[str, str]
    rows: dict[str, int]

    def cookies_of(self, person: str) -> dict[str, Any]:
        """Return the state of a browser in which somebody is logged in."""
        cookie = {
            "name": "sessionid",
            "value": self.sessions[person],
            "domain": str(urlsplit(self.site.origin).hostname),
            "path": "/",
            "expires": -1,
            "httpOnly": True,
            "secure": False,
            "sameSite": "Lax",
        }
        return {"cookies": [cookie], "origins": []}

    def add_builds(self, project: str, number: int) -> None:
        """Store that many deliveries about a project of the test's own."""
        call = f"from tests.browser.shop import add_builds; add_builds({project!r}, {number})"
        self.site.manage("shell", "-v0", "-c", call)


@pytest.fixture(scope="package")
def shop(migrated_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """The site with a month of deliveries and a chat. Tests send what they change."""
    folder = tmp_path_factory.mktemp("shop")
    with running_chat() as chat, new_database(folder, template=migrated_database) as database_url:
        environment = {"BOARD_CHAT_URL": chat.url, "DJANGO_SECRET_KEY": "of the shop"}
        with running_site(SERVER, database_url, environment) as site:
            fill = "from tests.browser.shop import fill; fill()"
            filled = json.loads(site.manage("shell", "-v0", "-c", fill))
            send_with(f" {SECRET} ", site, sample_body("bundle:finished"))
            filled["rows"]["rejection"] = int(site.query("Rejection.objects.latest('pk').pk"))
            yield Shop(site=site, chat=chat, **filled)


def send_with(secret: str, site: Site, body: bytes) -> None:
    """Send a body that is signed with some secret."""
    sending.post(site.url, body, sending.perfsee_headers(body, secret))


@pytest.fixture
def site(shop: Shop) -> Site:
    return shop.site


@pytest.fixture
def chat(shop: Shop) -> Iterator[Chat]:
    """The chat of the board, which is quick again after the test."""
    yield shop.chat
    shop.chat.seconds, shop.chat.status = 0, 200


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    """Take the browser that the system has installed."""
    path = os.environ.get("CHROMIUM", CHROMIUM)
    if shutil.which(path) is None:
        pytest.fail(
            f"There is no browser at {path}. Install one (apt install chromium), or say in "
            "CHROMIUM where it is.",
            pytrace=False,
        )
    return {
        **browser_type_launch_args,
        "executable_path": path,
        "args": ["--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking"],
    }


@pytest.fixture(scope="package")
def playwright(shop: Shop) -> Iterator[Playwright]:
    # After the site, since nothing of Django's can be set up while it runs.
    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="package")
def browser(playwright: Playwright, browser_type_launch_args: dict[str, Any]) -> Iterator[Browser]:
    started = playwright.chromium.launch(**browser_type_launch_args)
    yield started
    started.close()


@pytest.fixture(scope="package")
def browser_context_args(shop: Shop) -> dict[str, Any]:
    return {"base_url": shop.site.origin}


@pytest.fixture
def watch(shop: Shop) -> Watch:
    """What went wrong in the browser; a test may expect some of it."""
    return Watch(origins={shop.site.origin})


@pytest.fixture
def new_context(
    new_context: Callable[..., BrowserContext], shop: Shop, watch: Watch
) -> Iterator[Callable[..., BrowserContext]]:
    """Open windows of one of the shop's people, and fail the test for what goes wrong in them."""
    opened = []

    def open_context(person: str = "admin", **arguments: Any) -> BrowserContext:
        context = new_context(
            **{"viewport": WIDE, "storage_state": shop.cookies_of(person), **arguments}
        )
        context.set_default_timeout(PATIENCE_MILLISECONDS)
        watch.over(context)
        opened.append(context)
        return context

    yield open_context
    wrong = watch.finish([page for context in opened for page in context.pages])
    assert not wrong, "\n".join(wrong)


def body_about(project: str, **artifact: Any) -> bytes:
    """Return the body of a bundle of a project of the test's own."""
    value = json.loads(sample_body("bundle:finished"))
    about = value["payload"]["data"]["project"]
    about["id"] = project
    about["artifact"] |= artifact
    return json.dumps(value, ensure_ascii=False).encode()


def send_many(site: Site, bodies: Iterable[bytes]) -> None:
    """Send bodies, and wait until their receivers are done."""
    for body in bodies:
        assert site.send(body).status == 204
    site.wait_until_settled()

"""The wheel, as a newcomer gets it: what it holds, and that the README alone leads to a site."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import zipfile
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from http.cookiejar import CookieJar
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlencode, urljoin, urlsplit
from urllib.request import HTTPCookieProcessor, build_opener, urlopen

import pytest

from perfsee_webhooks import events

from .documents import DOCS, README, blocks_of, modules_of
from .sites import ROOT, Site, running_environment, running_site

pytestmark = pytest.mark.once

PACKAGE = ROOT / "perfsee_webhooks"
UV = Path(sys.executable).with_name("uv")
SERVER = ("django", "runserver", "--noreload", "127.0.0.1:0")
ENVIRONMENT = {
    "DJANGO_SETTINGS_MODULE": "mysite.settings",
    "DJANGO_SUPERUSER_PASSWORD": "a password of the test",
    "PERFSEE_SECRET": "a secret that is long enough",
}
PAGES_OF_ADMIN = 12

HAS_NO_EXTRA = "pip install 'django-perfsee-webhooks[api]'"


@dataclass(frozen=True, kw_only=True)
class Built:
    """What was built: the source distribution, and the wheel that was built from it."""

    source: Path
    wheel: Path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("built")
    build(folder)
    return Built(source=next(folder.glob("*.tar.gz")), wheel=next(folder.glob("*.whl")))


def build(folder: Path, *arguments: str) -> None:
    subprocess.run([UV, "build", "--quiet", *arguments, "--out-dir", folder, ROOT], check=True)


def contents_of(wheel: Path) -> dict[str, int]:
    """Return the checksum of each file, without the list of checksums itself."""
    with zipfile.ZipFile(wheel) as archive:
        files = [file for file in archive.infolist() if not file.is_dir()]
    return {file.filename: file.CRC for file in files if not file.filename.endswith("/RECORD")}


def test_wheel__holds_the_package_and_nothing_else(built):
    held = {name for name in contents_of(built.wheel) if ".dist-info/" not in name}
    files = (path for path in PACKAGE.rglob("*") if path.is_file() and path.suffix != ".pyc")
    assert held == {path.relative_to(ROOT).as_posix() for path in files}
    samples = {f"perfsee_webhooks/samples/{events.dashed(name)}.json" for name in events.KNOWN}
    assert held > {
        "perfsee_webhooks/py.typed",
        "perfsee_webhooks/migrations/0001_initial.py",
        "perfsee_webhooks/static/perfsee_webhooks/admin.css",
        "perfsee_webhooks/templates/admin/perfsee_webhooks/overview.html",
        *samples,
    }


def test_sdist__builds_the_same_wheel_as_the_checkout(built, tmp_path):
    build(tmp_path, "--wheel")
    (from_checkout,) = tmp_path.glob("*.whl")
    assert contents_of(from_checkout) == contents_of(built.wheel)


def test_sdist__holds_no_tests_and_no_example(built):
    with tarfile.open(built.source) as archive:
        folders = {name.split("/")[1] for name in archive.getnames() if "/" in name}
    assert folders & {"perfsee_webhooks", "tests", "example_project", "docs"} == {
        "perfsee_webhooks"
    }


@dataclass(frozen=True, kw_only=True)
class Newcomer:
    """Somebody with an empty environment and an empty folder, who has the README alone."""

    folder: Path
    wheel: Path

    @property
    def python(self) -> str:
        return str(self.folder / ".venv" / "bin" / "python")

    def install(self, extra: str = "") -> None:
        """Do what the README says, with the wheel that was built for the one of the index."""
        (words,) = [words for words in commands() if "install" in words]
        self.run(*words[1:-1], "--quiet", "--disable-pip-version-check", f"{self.wheel}{extra}")

    def run(self, *arguments: str) -> str:
        return subprocess.run(
            [self.python, *arguments],
            check=True,
            cwd=self.folder,
            env=running_environment("", ENVIRONMENT),
            stdout=subprocess.PIPE,
            text=True,
        ).stdout

    def add(self, module: str, code: str) -> None:
        with (self.folder / "mysite" / module).open("a") as file:
            file.write(code)

    def running(self) -> Iterator[Site]:
        with running_site(SERVER, "", ENVIRONMENT, self.folder, self.python) as site:
            yield site


def commands() -> list[list[str]]:
    return [words for block in blocks_of(README, "console") for words in block.commands]


@pytest.fixture(scope="module")
def newcomer(built, tmp_path_factory) -> Newcomer:
    someone = Newcomer(folder=tmp_path_factory.mktemp("newcomer"), wheel=built.wheel)
    subprocess.run([sys.executable, "-m", "venv", someone.folder / ".venv"], check=True)
    someone.install()
    someone.run("-m", "django", "startproject", "mysite", ".")
    for module, code in modules_of(blocks_of(README)).items():
        if module in ("settings.py", "urls.py"):
            someone.add(module, code)
    (migrate,) = [words for words in commands() if "migrate" in words]
    someone.run(*migrate[1:], "-v0")
    createsuperuser = ("createsuperuser", "--noinput", "--username=ann", "--email=")
    someone.run("manage.py", *createsuperuser, "-v0")
    return someone


@pytest.fixture
def site(newcomer) -> Iterator[Site]:
    yield from newcomer.running()


def test_wheel__needs_nothing_but_django(newcomer):
    installed = newcomer.run("-m", "pip", "list", "--format=freeze", "--disable-pip-version-check")
    names = {line.partition("==")[0].lower() for line in installed.split()}
    assert names - {"pip", "setuptools"} == {
        "asgiref", "django", "django-perfsee-webhooks", "sqlparse"
    }  # fmt: skip
    where = newcomer.run("-c", "import perfsee_webhooks; print(perfsee_webhooks.__file__)")
    assert where.startswith(str(newcomer.folder))


def test_wheel__leads_to_deliveries_that_are_stored_and_processed(site):
    site.manage("check")
    (send,) = [words for words in commands() if "perfsee_send" in words]
    sent = site.manage(*send[2:], "--url", site.url)
    assert re.findall(r"^[0-9]{3}", sent, re.MULTILINE) == ["204"] * 4
    site.wait_until_settled()
    states = site.query("set(Delivery.objects.values_list('state', flat=True))")
    assert states == "{'unhandled'}", "no receiver is connected yet"
    refused = site.manage("perfsee_send", "--secret=wrong", "--url", site.url, check=False)
    assert re.findall(r"^[0-9]{3}", refused, re.MULTILINE) == ["400"] * 4


def test_wheel__leads_to_an_admin_that_answers(site):
    site.manage("perfsee_send", "--url", site.url)
    site.manage("perfsee_send", "--secret=wrong", "--url", site.url, check=False)
    visitor = logged_in(site)
    waiting, seen = deque(["/admin/perfsee_webhooks/"]), set()
    while waiting:
        path = waiting.popleft()
        if path in seen:
            continue
        seen.add(path)
        with visitor.open(site.origin + path) as answer:
            assert answer.status == 200
            shown = (
                answer.read().decode() if answer.headers.get_content_type() == "text/html" else ""
            )
        links = re.findall(r'(?:href|src)="([^"]+)"', shown)
        paths = [urlsplit(urljoin(path, link)).path for link in links]
        waiting += [path for path in paths if re.match("/(admin|static)/perfsee_webhooks/", path)]
    assert {"/static/perfsee_webhooks/admin.css", "/static/perfsee_webhooks/admin.js"} <= seen
    assert len(seen) >= PAGES_OF_ADMIN, seen


def logged_in(site: Site):
    visitor = build_opener(HTTPCookieProcessor(jar := CookieJar()))
    address = f"{site.origin}/admin/login/?next=/admin/perfsee_webhooks/"
    visitor.open(address).close()
    (token,) = [cookie.value for cookie in jar if cookie.name == "csrftoken"]
    form = {
        "username": "ann",
        "password": ENVIRONMENT["DJANGO_SUPERUSER_PASSWORD"],
        "csrfmiddlewaretoken": token,
    }
    with visitor.open(address, urlencode(form).encode()) as answer:
        assert answer.url == f"{site.origin}/admin/perfsee_webhooks/"
    return visitor


def test_wheel__says_which_extra_the_api_needs_and_has_it_with_that(newcomer):
    program = "import perfsee_webhooks.api.urls"
    without = subprocess.run(
        [newcomer.python, "-c", program], capture_output=True, check=False, text=True
    )
    assert HAS_NO_EXTRA in without.stderr
    newcomer.install("[api]")
    for module, code in modules_of(blocks_of(DOCS / "api.md")).items():
        newcomer.add(module, code)
    for site in newcomer.running():
        deliveries = f"{site.origin}/api/perfsee/deliveries/?format=json"
        with logged_in(site).open(deliveries) as answer:
            assert answer.status == 200
            assert b'"results"' in answer.read()
        with pytest.raises(HTTPError, match=r"40[13]"):
            urlopen(deliveries)  # noqa: S310  # the address of the site above

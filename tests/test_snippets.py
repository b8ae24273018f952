"""The script and the test are run for real: what they send has to arrive to the last byte."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import LazySettings
from django.test import Client

from perfsee_webhooks.envelope import kept_headers
from perfsee_webhooks.models import Delivery
from perfsee_webhooks.samples import sample_body
from perfsee_webhooks.snippets import Request, pytest_test, signed_curl

from .sites import GUNICORN_THREADS, SECRET, Site, running_site

HOSTILE = "'\"$(touch pwned)`touch pwned`\\{0}%s;!&|<>é🔑#"
NAMES = ("X-Perfsee-Event", "X-Perfsee-Hook-ID", "X-Perfsee-Hook-Project", "User-Agent")
HEADERS = {
    "X-Perfsee-Event": "bundle:finished",
    "X-Perfsee-Hook-ID": "00000000-0000-4000-8000-000000000000",
    "X-Perfsee-Hook-Project": "perfsee",
    "User-Agent": "Perfsee-Hookshot/1",
    "Content-Type": "application/json",
}
HOSTILE_HEADERS = dict.fromkeys(NAMES, HOSTILE) | {
    "X-Perfsee-Hook-Project": "é",
    "Content-Type": "application/json; charset=utf-16; x='\"$(touch pwned)",
}
BODIES = {
    "sample": sample_body("bundle:finished"),
    "in any script": sample_body("lab:snapshot-completed"),
    "quotes": json.dumps({"eventType": HOSTILE, "a": "''\"\"\\\\"}, ensure_ascii=False).encode(),
    "line ends": b'{"eventType":\r\n"a"}\n\nEND\n\r',
    "no UTF-8": b"\xff\xfe\x00'\n",
    "cut off": "🔑".encode()[:-1],
    "every byte": bytes(range(256)) * 3,
    "NUL": b'{"a":"\x00"}',
    "marks of direction": '{"a":"\u202e"}'.encode(),
    "byte order mark": b"\xef\xbb\xbf{}",
    "empty": b"",
    "a dash": b"-n",
    "an at sign": b"@/etc/passwd",
    "64 KiB": b'{"a":"' + b"x'" * 32768 + b'"}',
}
needs_curl = pytest.mark.skipif(
    not (shutil.which("curl") and shutil.which("openssl")), reason="needs curl and openssl"
)


def request(body: bytes = b"{}", headers=HEADERS, delivery_id: str = "one") -> Request:
    return Request(delivery_id=delivery_id, body=body, headers=headers)


def run(script: str, folder: Path, shell: str = "bash", **environment: str):
    """Run a script as a person does: with nothing but a secret and a path set."""
    known: dict[str, object] = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "PERFSEE_SECRET": SECRET,
        "TMPDIR": folder,
    }
    return subprocess.run(
        [shell],
        input=script,
        capture_output=True,
        check=False,
        cwd=folder,
        encoding="utf-8",
        env={name: str(value) for name, value in {**known, **environment}.items() if value},
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return an empty folder to run a script in, in which it has to leave nothing."""
    folder = tmp_path / "folder"
    folder.mkdir()
    return folder


@pytest.fixture
def site(site_database_url: str) -> Iterator[Site]:
    with running_site(GUNICORN_THREADS, site_database_url) as site:
        yield site


@pytest.mark.once
@needs_curl
@pytest.mark.parametrize("shell", ["bash", "sh"])
@pytest.mark.parametrize("headers", [HEADERS, HOSTILE_HEADERS], ids=["headers", "hostile headers"])
def test_signed_curl__sends_the_same_bytes_and_headers(site, folder, headers, shell):
    names = (*NAMES, "Content-Type")
    for number, (name, body) in enumerate(BODIES.items()):
        script = signed_curl(request(body, headers, f"id-{number}"), site.url)
        answer = run(script, folder, shell)
        assert "HTTP/1.1 204 No Content" in answer.stdout, (name, answer)
        assert answer.stderr == ""
    rows = "Delivery.objects.order_by('pk').values_list('delivery_id', 'body', 'headers')"
    stored = eval(site.query(f"[(key, bytes(body), head) for key, body, head in {rows}]"))  # noqa: S307  # what this site printed
    assert [(key, body) for key, body, _ in stored] == [
        (f"id-{number}", body) for number, body in enumerate(BODIES.values())
    ]
    for *_, kept in stored:
        assert {name: kept[name] for name in names} == headers
    assert list(folder.iterdir()) == []


@pytest.mark.once
@needs_curl
def test_signed_curl__takes_address_id_and_secret_from_the_shell(site, folder):
    script = signed_curl(request(), "http://127.0.0.1:1/")
    given = {"PERFSEE_URL_OF_RECEIVER": site.url, "PERFSEE_DELIVERY_ID": "another"}
    assert " 204 " in run(script, folder, **given).stdout
    assert site.query("Delivery.objects.get().delivery_id") == "another"
    assert " 400 " in run(script, folder, **given, PERFSEE_SECRET="another").stdout
    without_secret = run(script, folder, **given, PERFSEE_SECRET="")
    assert without_secret.returncode != 0
    assert "Set it to the secret of the hook." in without_secret.stderr
    nowhere = run(signed_curl(request(), None), folder)
    assert nowhere.returncode != 0
    assert "Set it to the address of the receiver." in nowhere.stderr
    assert " 204 " in run(signed_curl(request(), None), folder, **given).stdout


@needs_curl
def test_signed_curl__leaves_the_shell_as_it_was(folder):
    script = signed_curl(request(), "http://127.0.0.1:1/")
    after = run(script + 'echo "still here, $-, ${url-none}"', folder)
    assert "still here" in after.stdout
    assert after.stdout.strip().endswith("none")
    assert "e" not in after.stdout.rpartition(",")[0].rpartition(",")[2]


def test_signed_curl__quotes_the_address(folder):
    script = signed_curl(request(), "http://example.com/'$(touch pwned)")
    run(script, folder, PERFSEE_URL_OF_RECEIVER="http://127.0.0.1:1/")
    assert list(folder.iterdir()) == []
    assert r"""url='http://example.com/'"'"'$(touch pwned)'""" in script


@pytest.mark.parametrize(
    ("body", "written"),
    [
        (BODIES["sample"], """'{"eventType":"bundle:finished","""),
        (BODIES["quotes"], """'{"eventType": "'"'"'"""),
        (BODIES["line ends"], "openssl base64 -d"),
        (BODIES["marks of direction"], "openssl base64 -d"),
        (BODIES["no UTF-8"], "openssl base64 -d"),
    ],
)
def test_signed_curl__is_readable_where_it_can_be(body, written):
    assert written in signed_curl(request(body), "http://example.com/")


@pytest.mark.parametrize("headers", [{}, {"X-Perfsee-Event": " ", "User-Agent": "a\r\nX: y\x00"}])
def test_snippets__leave_out_what_is_empty_and_hold_no_line_end(headers):
    script = signed_curl(request(headers=headers), "http://example.com/")
    for snippet in (script, pytest_test(request(headers=headers))):
        assert "X-Perfsee-Hook-ID" not in snippet
        assert "X-Perfsee-Event" not in snippet
        assert "\r" not in snippet
        assert "\x00" not in snippet
    assert "--header 'Content-Type: application/json'" in script
    agent = "a\ufffd\ufffdX: y\ufffd" if headers else "Perfsee-Hookshot/1"
    assert f"--header 'User-Agent: {agent}'" in script


@pytest.mark.django_db
@pytest.mark.parametrize("headers", [HEADERS, HOSTILE_HEADERS], ids=["headers", "hostile headers"])
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_pytest_test__posts_the_same_bytes_and_headers(
    client: Client, settings: LazySettings, no_receivers, body, headers
):
    hook = {"SECRETS": ["x"], "PROJECTS": []}
    settings.PERFSEE_WEBHOOKS = {"HOOKS": {headers["X-Perfsee-Hook-ID"]: hook}, "SECRETS": []}
    module = pytest_test(request(body, headers, "some:id"))
    names: dict[str, object] = {}
    exec(compile(module, "snippet", "exec"), names)  # noqa: S102  # what a person would paste
    names["test_delivery"](client, settings)  # type: ignore[operator]  # a function
    delivery = Delivery.objects.get(delivery_id="some:id")
    assert bytes(delivery.body) == body
    kept = {name: delivery.headers[name] for name in (*NAMES, "Content-Type")}
    assert kept == headers
    assert module.isascii()


@pytest.mark.once
@pytest.mark.parametrize(("changed", "outcome"), [("", "1 passed"), ("changed", "1 failed")])
def test_pytest_test__is_one_that_pytest_runs_and_that_can_fail(tmp_path, changed, outcome):
    module = pytest_test(request(BODIES["quotes"], HOSTILE_HEADERS, "it:is"))
    expected = "assert bytes(delivery.body) == BODY"
    assert expected in module
    snippet = tmp_path / "test_snippet.py"
    snippet.write_text(module.replace(expected, f"{expected} + {changed!r}.encode()"))
    (tmp_path / "settings.py").write_text(
        "from example_project.settings import *\n"
        "DATABASES = {'default': {'ENGINE': 'django.db.backends.sqlite3', 'NAME': ':memory:'}}\n"
    )
    printed = subprocess.run(
        [sys.executable, "-m", "pytest", "--ds=settings", "-p", "no:cacheprovider", snippet],
        capture_output=True,
        check=False,
        cwd=tmp_path,
        text=True,
        env={
            "PATH": "/usr/bin",
            "PYTHONPATH": f"{tmp_path}:{Path(__file__).resolve().parent.parent}",
            "DJANGO_SECRET_KEY": "x",
            "PERFSEE_SECRETS": "x-that-is-long-enough",
        },
    ).stdout
    assert outcome in printed, printed


def test_headers__are_those_that_the_receiver_keeps():
    assert set(HEADERS) <= set(
        kept_headers(
            {
                "HTTP_" + name.upper().replace("-", "_")
                if name != "Content-Type"
                else "CONTENT_TYPE": "x"
                for name in HEADERS
            }
        )
    )

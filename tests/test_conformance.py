"""The scenarios of `proof.conformance`, in short: the app stands all, and each flaw is caught.

The whole matrix runs in `make proof`; here each flaw meets the scenario that the page names first.
"""

from __future__ import annotations

import socket
from collections import Counter

import pytest
from django.db import connection

from proof.conformance import __main__ as command
from proof.conformance import effects, sender
from proof.conformance.app import AppProcesses
from proof.conformance.flaws import FLAWS, HONEST
from proof.conformance.matrix import Matrix, running, verdict, verdicts_on, violated
from proof.conformance.page import PAGE, caught_on, page
from proof.conformance.process import SmallProcess
from proof.conformance.scenarios import SCENARIOS
from proof.conformance.trial import Violation

from .sites import ROOT

pytestmark = pytest.mark.once

BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
CAUGHT = caught_on(PAGE.read_text())


def failures(verdicts):
    return {name: str(violation) for name, violation in verdicts.items() if violation is not None}


def test_app__stands_all_on_sqlite(tmp_path):
    url = f"sqlite:///{tmp_path / 'site.sqlite3'}"
    app = AppProcesses(name="app", folder=tmp_path, database_url=url)
    app.prepare()
    assert failures(verdicts_on(app)) == {}


def test_app__stands_all_on_postgresql_with_a_spool(request, tmp_path):
    if connection.vendor != "postgresql":
        pytest.skip("needs --database postgresql")
    url = request.getfixturevalue("site_database_url")
    app = AppProcesses(name="app", folder=tmp_path, database_url=url, has_spool=True)
    app.prepare()
    assert failures(verdicts_on(app)) == {}


def test_honest__stands_all(tmp_path):
    assert failures(verdicts_on(SmallProcess(name=HONEST, folder=tmp_path))) == {}


@pytest.mark.parametrize("flaw", FLAWS)
def test_flaw__is_caught(flaw, tmp_path):
    scenario = BY_NAME[CAUGHT[flaw][0]]
    receiver = SmallProcess(name=flaw, folder=tmp_path)
    with running(receiver):
        assert verdict(scenario, receiver, receiver) is not None


def test_page__is_that_of_the_code():
    assert page(CAUGHT) == PAGE.read_text(), "python -m proof.conformance --write"
    assert list(CAUGHT) == ["app", "honest", *FLAWS]
    assert CAUGHT["app"] == CAUGHT["honest"] == []


def test_matrix__every_flaw_is_caught_and_every_scenario_catches_one():
    assert [flaw for flaw in FLAWS if not CAUGHT[flaw]] == []
    catching = Counter(name for flaw in FLAWS for name in CAUGHT[flaw])
    assert [name for name in BY_NAME if not catching[name]] == []


def test_matrix__rows_tell_what_is_lost_and_what_is_wrong():
    name, other = list(BY_NAME)[:2]
    stood = dict.fromkeys(BY_NAME)
    loss = Violation("it to be stored", "nothing", is_loss=True)
    result = Matrix(
        apps={"app": {**stood, name: loss, other: Violation("a 2xx", "no answer")}},
        honest=stood,
        flaws={"Caught": {**stood, other: loss}, "Missed": stood},
    )
    app, honest, flaws = result.rows
    assert (app.tried, app.lost, app.wrong, app.note) == (len(BY_NAME), 1, 1, f"{name}, {other}")
    assert (flaws.tried, flaws.lost, flaws.wrong, flaws.note) == (2, 0, 1, "Missed")
    assert [row.holds for row in result.rows] == [False, True, False]
    assert result.caught == {"app": [name, other], "honest": [], "Caught": [other], "Missed": []}
    assert violated(stood) == []
    assert honest.note == ""


def test_scenarios__are_all_listed_and_named_once():
    modules = (ROOT / "proof/conformance/scenarios").glob("*.py")
    written = sum(
        line.startswith("@scenario") for path in modules for line in path.read_text().splitlines()
    )
    assert len(SCENARIOS) == len(BY_NAME) == written
    assert [scenario.name for scenario in SCENARIOS if not scenario.asks.endswith(".")] == []


def test_command__judges_a_receiver_of_which_it_knows_the_address(tmp_path, capsys):
    receiver = SmallProcess(name=HONEST, folder=tmp_path)
    with running(receiver):
        secrets = [word for secret in receiver.secrets for word in ("--secret", secret)]
        assert command.main(["--url", receiver.url, *secrets]) == 0
        remote = sum(not scenario.at_hand for scenario in SCENARIOS)
        assert capsys.readouterr().out.endswith(f"{remote} of {remote} scenarios are stood.\n")
        assert command.main(["--url", receiver.url, "--secret", "another one"]) == 1
        assert "WRONG  a new delivery\n       expected a 2xx" in capsys.readouterr().out


def test_command__says_that_nobody_listens(capsys):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        assert command.main(["--url", f"http://127.0.0.1:{port}/hook/", "--secret", "x"]) == 1
    assert "no answer" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [["--url", "http://127.0.0.1/"], ["--secret", "x"], ["--url", "ftp://a/", "--secret", "x"]],
)
def test_command__refuses_half_of_an_address(arguments):
    with pytest.raises(SystemExit):
        command.main(arguments)


def test_sender__signs_like_others():
    assert sender.sign(b"Hello, World!", "It's a Secret to Everybody") == (
        "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    )


def test_effects__fail_once_and_only_where_they_are_asked_to(tmp_path):
    with pytest.raises(effects.EffectFailed):
        effects.be_moody(effects.MOODY, "failing-1", tmp_path)
    effects.be_moody(effects.MOODY, "failing-1", tmp_path)
    effects.be_moody(effects.STEADY, "failing-2", tmp_path)
    effects.be_moody(effects.MOODY, "plain-1", tmp_path)

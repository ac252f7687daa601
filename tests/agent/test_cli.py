"""The command line, without an orchestrator."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

import pytest

from agent.cli import main
from agent.facts import agent_version
from agent.logs import JsonFormatter, TextFormatter, printable


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No command of a test touches the user's own state, or the tests' logging."""
    monkeypatch.setenv("FLEETFIT_AGENT_STATE_DIR", str(tmp_path))
    monkeypatch.setattr("agent.cli.configure_logs", lambda **_: None)


@pytest.mark.parametrize("command", ["join", "run", "status", "leave", "profile", "doctor"])
def test_each_help_shows_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    assert caught.value.code == 0
    assert f"example:\n  fleetfit-agent {command}" in capsys.readouterr().out


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"fleetfit-agent {agent_version()}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["fly"],
        ["join"],
        ["join", "pi:1", "--token", "t"],
        ["run", "--log-level", "loud"],
        ["run", "--cache-quota-mib", "0"],
        ["status", "--cache-quota-mib", "5"],
    ],
)
def test_a_wrong_command_line_is_one_line_and_a_hint(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in lines] == ["error", "hint"]
    assert "--help" in lines[1]


@pytest.mark.parametrize("command", ["run", "status"])
def test_a_machine_that_has_not_joined_is_told_what_to_do(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command]) == 5
    errors = capsys.readouterr().err
    assert "has not joined a fleet" in errors
    assert "join-token create" in errors


def test_leaving_what_was_never_joined_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["leave"]) == 0
    assert capsys.readouterr().out == "this machine has not joined a fleet\n"


def test_a_variable_with_nonsense_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FLEETFIT_LOG_FORMAT", "xml")
    assert main(["status"]) == 2
    assert "FLEETFIT_LOG_FORMAT is 'xml'" in capsys.readouterr().err


def record(message: str, *arguments: object) -> logging.LogRecord:
    return logging.LogRecord("agent.session", logging.WARNING, __file__, 1, message, arguments, None)


def test_a_line_of_json_has_everything() -> None:
    entry = json.loads(JsonFormatter().format(record("hello %s\n", "you")))
    assert (entry["level"], entry["logger"], entry["message"]) == ("warning", "agent.session", "hello you\n")
    assert entry["time"].endswith("Z")


def test_a_traceback_is_part_of_its_line_of_json() -> None:
    failed = record("failed")
    try:
        raise ValueError("why")
    except ValueError:
        failed.exc_info = sys.exc_info()
    assert "ValueError: why" in json.loads(JsonFormatter().format(failed))["traceback"]


def test_what_a_server_sends_cannot_steer_the_terminal() -> None:
    line = TextFormatter().format(record("job %s", "\x1b[2J\x07evil\N{RIGHT-TO-LEFT OVERRIDE}"))
    assert line.endswith(r"agent.session: job \x1b[2J\x07evil\u202e")
    assert printable("Größe 5 °C") == "Größe 5 °C"

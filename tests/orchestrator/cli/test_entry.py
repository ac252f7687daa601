import json
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.cli import invocation
from orchestrator.cli.entry import run
from orchestrator.errors import FleetfitError

FLEETFIT = Path(sys.executable).parent / "fleetfit"


def fleetfit_process(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run([FLEETFIT, *arguments], capture_output=True, text=True, timeout=60, **options)


def test_a_real_process_lists_devices(server):
    finished = fleetfit_process("device", "list", "--json")
    assert finished.returncode == 0, finished.stderr
    assert json.loads(finished.stdout)["devices"][0]["name"] == "my-pi"
    assert finished.stderr == ""


def test_a_real_process_without_a_server_writes_two_lines_and_exits_with_6():
    finished = fleetfit_process("device", "list")
    assert finished.returncode == 6
    assert [line.partition(":")[0] for line in finished.stderr.splitlines()] == ["error", "hint"]


def test_a_wrong_authority_is_one_error_without_the_transports_own_log(server, tmp_path):
    from tests.fakes.fake_api import fake_server

    with fake_server(tmp_path / "other") as other:
        finished = fleetfit_process("device", "list", "--server", server.address, "--ca", str(other.ca_path))
    assert finished.returncode == 6
    assert [line.partition(":")[0] for line in finished.stderr.splitlines()] == ["error", "hint"]


def test_a_reader_that_has_read_enough_is_no_error(server):
    reading = f"{FLEETFIT} device list --json | head -c 1; test ${{PIPESTATUS[0]}} -eq 141 -o ${{PIPESTATUS[0]}} -eq 0"
    finished = subprocess.run(["bash", "-c", reading], capture_output=True, text=True, timeout=60)
    assert "Traceback" not in finished.stderr
    assert "Exception" not in finished.stderr


def test_a_token_can_come_from_stdin(server):
    finished = fleetfit_process("device", "list", "--token-file", "-", input="ffo_wrong\n")
    assert finished.returncode == 5


def test_debug_shows_the_traceback(fleetfit):
    assert "Traceback" in fleetfit("device", "list", "--debug").err
    assert "Traceback" in fleetfit("--debug", "device", "list").err


def test_an_option_before_the_command_counts_too(fleetfit, server):
    assert fleetfit("--server", "127.0.0.1:1", "device", "list").code == 6


def test_no_arguments_show_the_help_and_end_with_2(fleetfit):
    finished = fleetfit()
    assert finished.code == 2
    assert "Usage: fleetfit" in finished.err


def test_the_version_is_printed(fleetfit):
    assert fleetfit("--version").out.startswith("fleetfit 0.")


def test_a_missing_library_names_the_extra_that_brings_it(capsys, monkeypatch):
    def without_rich(_):
        raise ModuleNotFoundError("No module named 'rich'", name="rich.table")

    monkeypatch.setattr(invocation, "invoke", without_rich)
    assert run(["device", "list"]) == 1
    assert "pip install 'fleetfit[cli]'" in capsys.readouterr().err


def test_a_missing_module_of_our_own_is_not_blamed_on_an_extra(capsys, monkeypatch):
    def broken(_):
        raise ModuleNotFoundError("No module named 'orchestrator.nothing'", name="orchestrator.nothing")

    monkeypatch.setattr(invocation, "invoke", broken)
    assert run(["device", "list"]) == 1
    assert "install fleetfit again" in capsys.readouterr().err


def test_a_fault_of_ours_is_one_line_with_the_way_to_see_more(fleetfit, server, monkeypatch):
    from orchestrator.client import Client

    def broken(*_):
        raise KeyError("surprise")

    monkeypatch.setattr(Client, "list_devices", broken)
    finished = fleetfit("device", "list")
    assert finished.code == 1
    assert finished.err.startswith("error: this should not happen: KeyError")
    assert "--debug" in finished.err
    assert "Traceback" in fleetfit("device", "list", "--debug").err


def test_an_error_as_json_is_an_object_on_stdout(fleetfit):
    finished = fleetfit("device", "list", "--json")
    content = json.loads(finished.out)
    assert content["schema_version"] == 1
    assert content["error"]["reason"] == "UNAVAILABLE"
    assert content["error"]["exit_code"] == finished.code == 6
    assert content["error"]["hint"]


def _classes(kind: type[FleetfitError]) -> list[type[FleetfitError]]:
    own = (child for child in kind.__subclasses__() if child.__module__ == FleetfitError.__module__)
    return [kind, *(each for child in own for each in _classes(child))]


@pytest.mark.parametrize("kind", _classes(FleetfitError)[1:])
def test_every_error_of_the_tree_ends_with_its_own_code(fleetfit, server, monkeypatch, kind):
    from orchestrator.client import Client

    def refuse(*_):
        raise kind("it is so", hint="do that")

    monkeypatch.setattr(Client, "list_devices", refuse)
    finished = fleetfit("device", "list")
    assert (finished.code, finished.err) == (kind.exit_code, "error: it is so\nhint: do that\n")

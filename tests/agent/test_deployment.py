"""What is installed on a device: the unit and the script, as far as they can be tried without being root."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

DEPLOY = Path(__file__).parents[2] / "deploy" / "agent"


def install(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh", str(DEPLOY / "install.sh"), *arguments], capture_output=True, text=True)


def test_the_script_explains_itself() -> None:
    shown = install("--help")
    assert shown.returncode == 0
    assert "example:" in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--runtime", "magic"], "no runtime 'magic'"),
        (["--join", "pi:7443"], "--join needs --ca-hash"),
        (["--name"], "--name needs a value"),
        (["--fast"], "unknown option '--fast'"),
    ],
)
def test_the_script_refuses_what_it_does_not_know_before_it_changes_anything(arguments: list[str], words: str) -> None:
    refused = install(*arguments)
    assert refused.returncode == 2
    assert words in refused.stderr
    assert len(refused.stderr.splitlines()) == 2


def test_the_unit_is_one_that_systemd_understands(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    unit = (DEPLOY / "fleetfit-agent.service").read_text()
    program = "/opt/fleetfit-agent/bin/fleetfit-agent"
    assert unit.count(program) == 1
    copy = tmp_path / "fleetfit-agent.service"
    copy.write_text(unit.replace(program, sys.executable))
    checked = subprocess.run(["systemd-analyze", "verify", str(copy)], capture_output=True, text=True)
    assert (checked.returncode, checked.stderr) == (0, "")

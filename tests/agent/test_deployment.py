"""What is installed on a device: the unit and the script, as far as they can be tried without being root."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
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


def write_wheel(folder: Path, version: str) -> Path:
    """A package with one module, as pip takes it without a network."""
    wheel = folder / f"tinyagent-{version}-py3-none-any.whl"
    information = f"tinyagent-{version}.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tinyagent.py", f"VERSION = {version!r}\n")
        archive.writestr(f"{information}/METADATA", f"Metadata-Version: 2.1\nName: tinyagent\nVersion: {version}\n")
        archive.writestr(f"{information}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{information}/RECORD", "")
    return wheel


def make_environment(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PIP_NO_INDEX": "1", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    script = str(DEPLOY / "environment.sh")
    return subprocess.run(["sh", script, *map(str, arguments)], capture_output=True, text=True, env=environment)


@pytest.mark.thorough
def test_a_devices_environment_holds_the_agent_and_no_pip_and_is_brought_up_to_date(tmp_path: Path) -> None:
    home = tmp_path / "agent"
    for version in ("1.0", "2.0"):
        made = make_environment(home, write_wheel(tmp_path, version), "none")
        assert made.returncode == 0, made.stderr
        said = subprocess.run(
            [home / "bin" / "python", "-c", "import tinyagent; print(tinyagent.VERSION)"],
            capture_output=True, text=True, cwd=tmp_path, env={},
        )  # fmt: skip
        assert said.stdout == f"{version}\n"
    (packages,) = home.glob("lib/python3*/site-packages")
    assert {path.name for path in packages.iterdir()} == {"tinyagent.py", "tinyagent-2.0.dist-info", "__pycache__"}


@pytest.mark.thorough
def test_an_environment_that_cannot_be_filled_is_an_error_and_leaves_no_builder_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    assert make_environment(tmp_path / "agent", "tinyagent==9", "none").returncode != 0
    assert list(temporary.iterdir()) == []


def test_the_environment_is_made_only_of_three_arguments(tmp_path: Path) -> None:
    refused = make_environment(tmp_path / "agent")
    assert refused.returncode == 2
    assert len(refused.stderr.splitlines()) == 2

from dataclasses import dataclass
from pathlib import Path

import pytest

from orchestrator.cli.entry import run
from tests.fakes.fake_api import Script, a_device, fake_server


@dataclass(frozen=True)
class Finished:
    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch, tmp_path):
    for name in ("FLEETFIT_SERVER", "FLEETFIT_TOKEN", "FLEETFIT_CA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FLEETFIT_DATA_DIR", str(tmp_path / "nothing-here"))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def server(tmp_path, monkeypatch):
    with fake_server(tmp_path / "server", Script(devices=[a_device()])) as running:
        monkeypatch.setenv("FLEETFIT_DATA_DIR", str(running.data_dir))
        yield running


@pytest.fixture
def fleetfit(capsys):
    """Runs one command line in this process."""

    def finished(*arguments: str) -> Finished:
        capsys.readouterr()
        code = run(arguments)
        captured = capsys.readouterr()
        return Finished(code, captured.out, captured.err)

    return finished


@pytest.fixture
def workload(tmp_path) -> Path:
    path = tmp_path / "digits.py"
    path.write_text("from pipelines.workload import Workload\n\n\nclass Digits(Workload):\n    pass\n")
    return path

"""The main job in real processes: join, search, push, and the refusal of a tampered release."""

import subprocess
from pathlib import Path

import pytest

from orchestrator.cli.demo_tampering import tampered
from tests.integration.fleet import LocalFleet

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def test_the_loop_from_joining_to_a_refused_forgery(fleet: LocalFleet, spec: str) -> None:
    fleet.start_orchestrator()
    agent = fleet.join("bench")
    fleet.wait(lambda: _online(fleet), "the device is online", agent)

    searched = fleet.cli("search", "run", spec, timeout_s=200)
    assert searched.returncode == 0, searched.stderr
    found = fleet.cli_json("search", "show", "corners")["search"]
    feasible = [trial for trial in found["trials"] if trial["state"] == "feasible"]
    winner = min(feasible, key=lambda trial: trial["size_bytes"])
    assert found["best_trial_id"] == winner["id"]
    assert all(trial["size_bytes"] >= winner["size_bytes"] for trial in found["trials"] if trial["size_bytes"])

    report = fleet.folder / "report.html"
    assert fleet.cli("search", "report", "corners", "--to", str(report)).returncode == 0
    assert winner["title"] in report.read_text()

    pushed = fleet.cli("push", "corners", "--device", "bench")
    assert pushed.returncode == 0, pushed.stderr
    served = fleet.state_dir("bench") / "current"
    active = served.resolve()
    assert _digest(next(active.glob("model.*"))) == winner["artifact_sha256"]
    assert fleet.cli_json("device", "show", "bench")["device"]["active_release"]["version"] == "1"

    other = next(trial for trial in found["trials"] if trial["artifact_sha256"] not in ("", winner["artifact_sha256"]))
    for kept in (fleet.state_dir("bench") / "stage").rglob(f"*{other['artifact_sha256']}*"):
        kept.unlink()
    release = fleet.cli_json("release", "create", "corners", "--trial", str(other["number"]))["release"]
    with tampered(fleet.data_dir / "artifacts", other["artifact_sha256"]):
        forged = fleet.cli("rollout", "create", release["id"], "--device", "bench")
    assert forged.returncode == 9, forged.stderr
    assert "hash" in forged.stderr
    assert "Traceback" not in forged.stderr
    assert served.resolve() == active
    assert [rollout["state"] for rollout in fleet.cli_json("rollout", "list")["rollouts"]] == ["failed", "succeeded"]


@pytest.mark.thorough
def test_a_budget_that_nothing_meets_names_it_and_by_how_much(fleet: LocalFleet, spec: str) -> None:
    fleet.start_orchestrator()
    agent = fleet.join("bench")
    fleet.wait(lambda: _online(fleet), "the device is online", agent)
    searched = fleet.cli("search", "run", spec, "--memory", "1MB", timeout_s=200)
    assert searched.returncode == 3
    assert "memory" in searched.stderr
    assert "over" in searched.stderr
    assert "Traceback" not in searched.stderr
    found = fleet.cli_json("search", "show", "corners")["search"]
    assert found["closest_trial_id"]
    assert not any(trial["train_s"] for trial in found["trials"] if trial["number"] > 0), "trained for nothing"


@pytest.mark.thorough
def test_a_workload_that_raises_ends_the_search_with_file_and_line(fleet: LocalFleet, tmp_path: Path) -> None:
    fleet.start_orchestrator()
    agent = fleet.join("bench")
    fleet.wait(lambda: _online(fleet), "the device is online", agent)
    source = (Path(__file__).parent / "workload.py").read_text()
    broken = tmp_path / "broken.py"
    broken.write_text(source.replace("targets = torch.arange(count) % 4", 'raise KeyError("no data here")'))
    line = next(n for n, text in enumerate(broken.read_text().splitlines(), 1) if "no data here" in text)
    searched = fleet.cli("search", "run", str(broken), "--device", "bench", "--size", "1MB", timeout_s=120)
    assert searched.returncode == 1
    assert f"broken.py:{line}" in searched.stderr
    assert "Traceback" not in searched.stderr


@pytest.mark.thorough
def test_stopping_leaves_no_process_behind(fleet: LocalFleet, spec: str) -> None:
    orchestrator = fleet.start_orchestrator()
    agent = fleet.join("bench")
    fleet.wait(lambda: _online(fleet), "the device is online", agent)
    assert fleet.cli("search", "run", spec, "--detach").returncode == 0
    fleet.wait(lambda: _busy(fleet), "workers are busy", orchestrator, agent, timeout_s=90)
    assert orchestrator.stop() == 0
    assert agent.stop() == 0
    fleet.wait(lambda: not _processes_with(str(fleet.folder)), "every process is gone", timeout_s=20)


def _online(fleet: LocalFleet) -> bool:
    return any(device["online"] for device in fleet.cli_json("device", "list")["devices"])


def _busy(fleet: LocalFleet) -> bool:
    return any(
        trial["state"] == "training" for trial in fleet.cli_json("search", "show", "corners")["search"]["trials"]
    )


def _processes_with(text: str) -> str:
    """Processes whose environment names the fleet's folder: children of its children too."""
    found = []
    for environment in Path("/proc").glob("[0-9]*/environ"):
        try:
            if text.encode() in environment.read_bytes() and environment.parent.name != str(_own_pid()):
                found.append((environment.parent / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return "\n".join(line for line in found if line)


def _own_pid() -> int:
    return int(Path("/proc/self").resolve().name)


def _digest(path: Path) -> str:
    return subprocess.run(["sha256sum", str(path)], check=True, capture_output=True, text=True).stdout.split()[0]

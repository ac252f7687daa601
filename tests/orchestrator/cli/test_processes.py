"""Children with real processes: none of them outlives whoever started it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from orchestrator.cli.processes import Child, script, stopped_at_the_end
from orchestrator.errors import DeadlineError, OperationError

SLEEP = "import time; print('started', flush=True); time.sleep(600)"
DEAF = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('started', flush=True); time.sleep(600)"
)
WITH_GRANDCHILD = f"""
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {DEAF!r}], stdout=subprocess.DEVNULL)
print("started", child.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def child(tmp_path):
    """Starts children that are gone after the test, whatever it found."""
    children = []

    def start(program: str, **options) -> Child:
        log = tmp_path / "logs" / f"child-{len(children)}.log"
        children.append(Child("the child", ["python", "-c", program], log=log, **options))
        return children[-1]

    yield start
    for each in children:
        each.stop()


def started(each: Child) -> None:
    each.wait_until(lambda: "started" in each.output(), what="it had started", timeout_s=20)


def lives(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in ("Z", "X")


def gone(process: int) -> bool:
    deadline = time.monotonic() + 20
    while lives(process) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not lives(process)


def test_a_child_runs_and_is_stopped(child):
    running = child(SLEEP)
    started(running)
    running.stop()
    assert running.exit_code == -signal.SIGTERM
    assert gone(running.pid)


def test_a_child_that_ignores_the_signal_is_stopped_too(child, monkeypatch):
    monkeypatch.setattr("orchestrator.cli.processes._STOP_TIMEOUT_S", 0.2)
    running = child(DEAF)
    started(running)
    running.stop()
    assert running.exit_code == -signal.SIGKILL


def test_what_a_child_runningis_stopped_with_it(child):
    running = child(WITH_GRANDCHILD)
    started(running)
    grandchild = int(running.output().split()[1])
    assert lives(grandchild)
    running.stop()
    assert gone(grandchild)


def test_a_child_that_ends_early_is_told_with_its_last_error(child):
    running = child("import sys; print('error: port 7443 is taken'); print('hint: x'); sys.exit(7)")
    with pytest.raises(OperationError, match="port 7443 is taken"):
        running.wait_until(lambda: False, what="it answered", timeout_s=20)
    running.stop()


def test_a_child_that_did_what_was_waited_for_and_ended_is_no_failure(child, tmp_path):
    leave = tmp_path / "leave"
    running = child(f"import os, time\nwhile not os.path.exists({str(leave)!r}): time.sleep(0.01)")
    answers = iter([False, True])

    def true_after_the_end() -> bool:
        leave.touch()
        running._process.wait()
        return next(answers)

    running.wait_until(true_after_the_end, what="it answered", timeout_s=20)


def test_waiting_ends_with_its_time(child):
    running = child(SLEEP)
    with pytest.raises(DeadlineError, match="it answered"):
        running.wait_until(lambda: False, what="it answered", timeout_s=0.1)
    running.stop()


def test_a_child_is_not_led_to_the_users_own_server(child, monkeypatch):
    monkeypatch.setenv("FLEETFIT_SERVER", "fleet.example:7443")
    monkeypatch.setenv("FLEETFIT_TOKEN", "ffo_mine")
    program = "import os; print(sorted(name for name in os.environ if name.startswith('FLEETFIT_')), 'started')"
    running = child(program, environment={"FLEETFIT_EXTRA": "1"})
    started(running)
    assert running.output().startswith("['FLEETFIT_EXTRA']")
    running.stop()


def test_all_children_are_stopped_when_something_goes_wrong(child):
    running = [child(SLEEP), child(SLEEP)]

    def fail() -> None:
        with stopped_at_the_end() as children:
            children += running
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert all(gone(each.pid) for each in running)


PARENT = """
import sys, time
from pathlib import Path
from orchestrator.cli.processes import Child, stopped_at_the_end

with stopped_at_the_end() as children:
    children.append(Child("the child", ["python", "-c", sys.argv[2]], log=Path(sys.argv[1])))
    children[0].wait_until(lambda: "started" in children[0].output(), what="it had started", timeout_s=20)
    print(children[0].pid, flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_however_the_parent_ends_the_child_does_too(tmp_path, number):
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path / "child.log"), SLEEP],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with parent:
        process = int(parent.stdout.readline())
        assert lives(process)
        os.kill(parent.pid, number)
        parent.wait(20)
    assert gone(process)
    assert parent.returncode == {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: -signal.SIGINT}[number]


def test_a_script_that_is_not_installed_is_named():
    with pytest.raises(OperationError, match="no-such-command"):
        script("no-such-command")

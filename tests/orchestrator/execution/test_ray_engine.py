"""The engine on a real Ray. It takes seconds to start, so that these tests share one."""

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from orchestrator.errors import InvalidInputError, UnavailableError, WorkerLostError, WorkloadFailedError
from orchestrator.execution.exclusion import DIRECTORY_VARIABLE
from orchestrator.execution.leash import marked_processes
from orchestrator.execution.ray_engine import RayEngine
from orchestrator.execution.tasks import TrainBaseline
from tests.orchestrator.execution.workloads import TROUBLE_LINE, a_workload

ResultT = TypeVar("ResultT")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


class Stage:
    """An engine and the loop that it belongs to."""

    def __init__(self, engine: RayEngine, loop: asyncio.AbstractEventLoop) -> None:
        self.engine = engine
        self._loop = loop

    def play(self, scene: Coroutine[Any, Any, ResultT]) -> ResultT:
        return self._loop.run_until_complete(asyncio.wait_for(scene, 120))


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    # Another test, or an agent on this machine, may hold the real lock.
    os.environ[DIRECTORY_VARIABLE] = str(tmp_path_factory.mktemp("locks"))
    loop = asyncio.new_event_loop()
    engine = RayEngine(cpus=2)
    yield Stage(engine, loop)
    loop.run_until_complete(engine.close())
    loop.close()
    del os.environ[DIRECTORY_VARIABLE]


def training(trouble: str = "pass", *, epochs: int = 1) -> TrainBaseline:
    return TrainBaseline(workload=a_workload(trouble, epochs=epochs), seed=0)


def test_the_result_and_the_progress_come_back(stage: Stage) -> None:
    lines: list[str] = []

    async def scene() -> None:
        trained = await stage.engine.run(training(epochs=3), on_progress=lines.append)
        assert trained.checkpoint
        deadline = asyncio.get_running_loop().time() + 30
        while not lines and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.05)

    stage.play(scene())
    assert lines, "at least one line must arrive while the work goes on or just after it"
    assert stage.engine.slots == 2


def test_an_exception_in_the_workload_names_file_and_line(stage: Stage) -> None:
    with pytest.raises(WorkloadFailedError, match=rf"tiny\.py:{TROUBLE_LINE}: .*a bad day"):
        stage.play(stage.engine.run(training("raise ValueError('a bad day')"), on_progress=lambda _: None))


def test_a_worker_that_crashes_is_replaced_and_then_reported(stage: Stage, tmp_path: Path) -> None:
    diary = tmp_path / "diary"
    trouble = f"open({str(diary)!r}, 'a').write('x'); ctypes.string_at(0)"
    with pytest.raises(WorkerLostError, match="lost 3 times"):
        stage.play(stage.engine.run(training(trouble), on_progress=lambda _: None))
    assert diary.read_text() == "xxx", "it is tried three times"


def test_a_worker_that_is_lost_once_costs_nothing_but_time(stage: Stage, tmp_path: Path) -> None:
    flag = tmp_path / "was-here"
    trouble = f"os.path.exists({str(flag)!r}) or (open({str(flag)!r}, 'w').close(), os.kill(os.getpid(), 9))"
    trained = stage.play(stage.engine.run(training(trouble), on_progress=lambda _: None))
    assert trained.checkpoint


def test_cancelling_kills_the_worker_at_once_and_frees_its_slot(stage: Stage, tmp_path: Path) -> None:
    """Both slots are taken by work that never ends and holds on to the interpreter."""
    pids = [tmp_path / "first", tmp_path / "second"]

    async def scene() -> None:
        endless = [
            asyncio.create_task(
                stage.engine.run(
                    training(f"open({str(path)!r}, 'w').write(str(os.getpid()))\n        while True: pass"),
                    on_progress=lambda _: None,
                )
            )
            for path in pids
        ]
        await until(lambda: all(path.exists() and path.read_text() for path in pids))
        for task in endless:
            task.cancel()
        await asyncio.gather(*endless, return_exceptions=True)
        assert all(task.cancelled() for task in endless)
        await until(lambda: not any(alive(int(path.read_text())) for path in pids))
        await stage.engine.run(training(), on_progress=lambda _: None)

    stage.play(scene())


def test_a_directory_too_long_for_sockets_is_refused(tmp_path: Path) -> None:
    engine = RayEngine(temp_dir=tmp_path / ("d" * 100))

    async def scene() -> None:
        with pytest.raises(InvalidInputError, match=r"too long for Ray's sockets by \d+ bytes"):
            await engine.start()
        await engine.close()

    asyncio.run(scene())


def test_a_cluster_that_nobody_runs_is_out_of_reach_at_once() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        engine = RayEngine(address=f"127.0.0.1:{unused.getsockname()[1]}")

        async def scene() -> None:
            for _ in range(2):
                with pytest.raises(UnavailableError, match=r"the Ray cluster at 127\.0\.0\.1:\d+ cannot be reached"):
                    await engine.start()
            await engine.close()

        asyncio.run(scene())


_ORCHESTRATOR = """
import asyncio, sys
from orchestrator.execution.ray_engine import RayEngine
from tests.orchestrator.execution.test_ray_engine import training

async def main():
    engine = RayEngine(cpus=1)
    try:
        await engine.start()
        # What a workload starts of its own must not stay behind either: Ray knows nothing of it.
        trouble = f"os.system('setsid --fork sleep 600'); open({sys.argv[1]!r}, 'w').close()"
        trouble += "\\n        while True: pass"
        await engine.run(training(trouble), on_progress=lambda _: None)
    finally:
        await engine.close()

asyncio.run(main())
"""


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGINT], ids=["killed", "interrupted"])
def test_no_process_and_no_file_outlives_the_orchestrator(ending: signal.Signals, tmp_path: Path) -> None:
    started = tmp_path / "started"
    environment = os.environ | {"TMPDIR": "/tmp", DIRECTORY_VARIABLE: str(tmp_path / "locks")}  # noqa: S108
    process = subprocess.Popen(
        [sys.executable, "-c", _ORCHESTRATOR, str(started)],
        env=environment,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_until(started.exists)
        mark, directory = leash_of(process.pid)
        wait_until(lambda: b"sleep" in {commandline(process) for process in marked_processes(mark)})
        assert directory.is_dir()
        # Ctrl-C reaches everything in the terminal, a kill only the one that is meant.
        (os.killpg if ending is signal.SIGINT else os.kill)(process.pid, ending)
        process.wait(timeout=60)
        # Ray's own agents would stay for a minute.
        wait_until(lambda: not marked_processes(mark), timeout_s=30)
        wait_until(lambda: not directory.exists(), timeout_s=30)
    finally:
        process.kill()
        process.wait()


def leash_of(pid: int) -> tuple[str, Path]:
    """Mark and directory, from the command line of the process's leash."""
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split() + all_children(pid):
        words = Path(f"/proc/{child}/cmdline").read_bytes().decode().split("\0")
        if any(re.search(r"leash\.py$", word) for word in words):
            return words[-3], Path(words[-2])
    raise AssertionError("no leash is held")


def commandline(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().partition(b"\0")[0]
    except (FileNotFoundError, ProcessLookupError):
        return b""


def all_children(pid: int) -> list[str]:
    """Children of every thread: Ray is started from a thread of its own."""
    return [child for path in Path(f"/proc/{pid}/task").glob("*/children") for child in path.read_text().split()]


def alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(condition: Callable[[], object], timeout_s: float = 90.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


async def until(condition: Callable[[], object], timeout_s: float = 90.0) -> None:
    await asyncio.to_thread(wait_until, condition, timeout_s)

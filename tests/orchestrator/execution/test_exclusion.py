import asyncio
import fcntl
import multiprocessing
import os
import threading
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from agent.profiling.exclusion import HostLock
from orchestrator.execution.exclusion import DIRECTORY_VARIABLE, SharedHost, host_lock_directory

_SPAWN = multiprocessing.get_context("spawn")


def shared_in_another_process(directory: Path, commands: Connection) -> None:
    """Holds the shared side; gives way whenever it is told to."""
    with SharedHost(directory, on_wait=lambda line: commands.send(line)) as host:
        commands.send("in")
        while commands.recv() == "batch":
            host.give_way()
            commands.send("batch done")


class Trainer:
    def __init__(self, directory: Path) -> None:
        self._here, there = _SPAWN.Pipe()
        self._process = _SPAWN.Process(target=shared_in_another_process, args=(directory, there))
        self._process.start()
        there.close()

    def says(self, timeout_s: float = 30.0) -> str | None:
        return self._here.recv() if self._here.poll(timeout_s) else None

    def tell(self, command: str) -> None:
        self._here.send(command)

    def kill(self) -> None:
        self._process.kill()
        self._process.join()

    def stop(self) -> None:
        self.tell("stop")
        self._process.join()
        assert self._process.exitcode == 0


class Measurer:
    """The exclusive side, as an agent takes it."""

    def __init__(self, directory: Path) -> None:
        self._files = [os.open(directory / name, os.O_RDWR) for name in ("turnstile", "lock")]
        self._thread = threading.Thread(target=self._take, daemon=True)

    def ask(self) -> None:
        self._thread.start()

    def has_it(self, timeout_s: float) -> bool:
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def release(self) -> None:
        for descriptor in self._files:
            os.close(descriptor)

    def _take(self) -> None:
        for descriptor in self._files:
            fcntl.flock(descriptor, fcntl.LOCK_EX)


def test_training_steps_aside_for_a_measurement_and_comes_back_after_it(tmp_path: Path) -> None:
    trainer = Trainer(tmp_path)
    assert trainer.says() == "in"
    trainer.tell("batch")
    assert trainer.says() == "batch done", "with nobody waiting, training goes on"

    measurer = Measurer(tmp_path)
    measurer.ask()
    assert not measurer.has_it(timeout_s=0.3), "a batch is not interrupted"
    trainer.tell("batch")
    assert trainer.says() == "waiting for a measurement on this host"
    assert measurer.has_it(timeout_s=30)
    assert trainer.says(timeout_s=0.3) is None, "training waits as long as the measurement lasts"

    measurer.release()
    assert trainer.says() == "batch done"
    trainer.stop()


def test_many_trainings_share_the_host(tmp_path: Path) -> None:
    first, second = Trainer(tmp_path), Trainer(tmp_path)
    assert first.says() == "in"
    assert second.says() == "in"
    first.stop()
    second.stop()


def test_a_newcomer_does_not_overtake_a_measurement_that_waits(tmp_path: Path) -> None:
    first = Trainer(tmp_path)
    assert first.says() == "in"
    measurer = Measurer(tmp_path)
    measurer.ask()
    assert not measurer.has_it(timeout_s=0.3)

    newcomer = Trainer(tmp_path)
    assert newcomer.says() == "waiting for a measurement on this host"
    first.stop()
    assert measurer.has_it(timeout_s=30)
    measurer.release()
    assert newcomer.says() == "in"
    newcomer.stop()


def test_a_training_that_is_killed_lets_go(tmp_path: Path) -> None:
    trainer = Trainer(tmp_path)
    assert trainer.says() == "in"
    measurer = Measurer(tmp_path)
    measurer.ask()
    trainer.kill()
    assert measurer.has_it(timeout_s=30)
    measurer.release()


def test_other_users_can_take_the_lock(tmp_path: Path) -> None:
    with SharedHost(tmp_path, on_wait=lambda _: None):
        pass
    assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {
        "turnstile": 0o666,
        "lock": 0o666,
    }


def test_the_directory_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DIRECTORY_VARIABLE, str(tmp_path / "locks"))
    assert host_lock_directory() == tmp_path / "locks"
    assert (tmp_path / "locks").is_dir()


def test_without_a_system_directory_each_user_has_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(DIRECTORY_VARIABLE, raising=False)
    monkeypatch.setattr("orchestrator.execution.exclusion._SYSTEM_DIRECTORY", tmp_path / "missing" / "fleetfit")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert host_lock_directory() == tmp_path / f"fleetfit-host-lock-{os.getuid()}"


def test_the_system_directory_is_open_to_every_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(DIRECTORY_VARIABLE, raising=False)
    monkeypatch.setattr("orchestrator.execution.exclusion._SYSTEM_DIRECTORY", tmp_path / "fleetfit")
    assert host_lock_directory() == tmp_path / "fleetfit"
    assert (tmp_path / "fleetfit").stat().st_mode & 0o7777 == 0o1777


def test_the_agent_speaks_the_same_protocol(tmp_path: Path) -> None:
    async def measure(trainer: Trainer) -> None:
        waited: list[str] = []
        entered = asyncio.Event()

        async def hold() -> None:
            async with HostLock(tmp_path).exclusive(on_wait=lambda: waited.append("waited")):
                entered.set()
                assert await asyncio.to_thread(trainer.says, 0.3) is None, "training waits meanwhile"

        holding = asyncio.create_task(hold())
        while not waited:
            await asyncio.sleep(0.01)
        trainer.tell("batch")
        assert await asyncio.to_thread(trainer.says) == "waiting for a measurement on this host"
        await holding
        assert entered.is_set()

    trainer = Trainer(tmp_path)
    assert trainer.says() == "in"
    asyncio.run(measure(trainer))
    assert trainer.says() == "batch done"
    trainer.stop()

from __future__ import annotations

import asyncio
import fcntl
import os
import subprocess
import sys

import pytest

from agent.errors import ConfigurationError
from agent.profiling import exclusion
from agent.profiling.exclusion import DIRECTORY_VARIABLE, HostLock, shared_directory


def share(directory) -> int:
    """What a trainer does; closing the descriptor ends it."""
    turnstile, lock = (os.open(directory / name, os.O_RDWR | os.O_CREAT, 0o666) for name in ("turnstile", "lock"))
    try:
        fcntl.flock(turnstile, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise
    finally:
        os.close(turnstile)
    return lock


async def take(lock: HostLock, waits: list[str]) -> None:
    async with lock.exclusive(on_wait=lambda: waits.append("waits")):
        pass


def test_a_free_machine_is_had_at_once(tmp_path):
    waits: list[str] = []
    asyncio.run(take(HostLock(tmp_path / "new" / "place"), waits))
    assert waits == []
    assert {path.name for path in (tmp_path / "new" / "place").iterdir()} == {"turnstile", "lock"}
    assert all(path.stat().st_mode & 0o777 == 0o666 for path in (tmp_path / "new" / "place").iterdir())


def test_nobody_trains_while_the_machine_is_held(tmp_path):
    async def scenario():
        async with HostLock(tmp_path).exclusive(on_wait=lambda: None):
            with pytest.raises(BlockingIOError):
                share(tmp_path)
        os.close(share(tmp_path))

    asyncio.run(scenario())


def test_it_waits_for_training_lets_nobody_overtake_and_blocks_nothing(tmp_path):
    async def scenario():
        first, second = share(tmp_path), share(tmp_path)
        waits: list[str] = []
        waiting = asyncio.ensure_future(take(HostLock(tmp_path), waits))
        while not waits:
            await asyncio.sleep(0)
        os.close(first)
        with pytest.raises(BlockingIOError):
            share(tmp_path)
        await asyncio.sleep(0.2)
        assert not waiting.done()
        os.close(second)
        await asyncio.wait_for(waiting, 10)
        assert waits == ["waits"]
        os.close(share(tmp_path))

    asyncio.run(scenario())


def test_a_real_training_gives_way_and_comes_back(tmp_path):
    training = pytest.importorskip("orchestrator.execution.exclusion")
    events: list[str] = []

    async def scenario():
        stepping = asyncio.Event()
        loop = asyncio.get_running_loop()

        def train():
            with training.SharedHost(tmp_path, on_wait=lambda line: events.append("training waits")) as host:
                loop.call_soon_threadsafe(stepping.set)
                while "measured" not in events:
                    host.give_way()
            events.append("trained")

        trained = asyncio.ensure_future(asyncio.to_thread(train))
        await stepping.wait()
        async with HostLock(tmp_path).exclusive(on_wait=lambda: events.append("measuring waits")):
            while "training waits" not in events:
                await asyncio.sleep(0.01)
            events.append("measured")
        await asyncio.wait_for(trained, 10)

    asyncio.run(scenario())
    assert events[-3:] == ["training waits", "measured", "trained"]


def test_waiting_can_be_cancelled_and_leaves_nothing_locked(tmp_path):
    async def scenario():
        training = share(tmp_path)
        waits: list[str] = []
        waiting = asyncio.ensure_future(take(HostLock(tmp_path), waits))
        while not waits:
            await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        os.close(share(tmp_path))
        os.close(training)

    asyncio.run(scenario())


def test_a_holder_that_dies_holds_no_longer(tmp_path):
    holder = (
        "import fcntl, os, sys\n"
        "for name in ('turnstile', 'lock'):\n"
        "    fcntl.flock(os.open(os.path.join(sys.argv[1], name), os.O_RDWR | os.O_CREAT), fcntl.LOCK_EX)\n"
        "print('held', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holder, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(BlockingIOError):
            share(tmp_path)
        process.kill()
    waits: list[str] = []
    asyncio.run(take(HostLock(tmp_path), waits))
    assert waits == []


def test_a_directory_that_cannot_be_used_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="file/inside"):
        asyncio.run(take(HostLock(tmp_path / "file" / "inside"), []))


def test_the_environment_names_the_directory(tmp_path, monkeypatch):
    monkeypatch.setenv(DIRECTORY_VARIABLE, str(tmp_path / "named"))
    assert shared_directory() == tmp_path / "named"


def test_the_system_directory_is_made_for_all_users(tmp_path, monkeypatch):
    monkeypatch.delenv(DIRECTORY_VARIABLE, raising=False)
    monkeypatch.setattr(exclusion, "_SYSTEM_DIRECTORY", tmp_path / "fleetfit")
    assert shared_directory() == tmp_path / "fleetfit"
    assert (tmp_path / "fleetfit").stat().st_mode & 0o7777 == 0o1777


def test_without_a_system_directory_each_user_has_one(tmp_path, monkeypatch):
    monkeypatch.delenv(DIRECTORY_VARIABLE, raising=False)
    monkeypatch.setattr(exclusion, "_SYSTEM_DIRECTORY", tmp_path / "missing" / "fleetfit")
    monkeypatch.setattr(exclusion.tempfile, "gettempdir", lambda: str(tmp_path))
    assert shared_directory() == tmp_path / f"fleetfit-host-lock-{os.getuid()}"

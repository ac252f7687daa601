"""Real processes, killed with SIGKILL at every change that they make to the disk and at every write of the journal."""

import itertools
import os
import shutil
import signal
import sys
import traceback
from contextlib import suppress

import pytest

from agent.errors import ArtifactRefusedError
from agent.update.journal import Journal
from agent.update.release import DeploymentState
from agent.update.slots import Slots
from tests.fakes.release_server import ReleaseServer
from tests.fakes.updating_device import UpdatingDevice

OLD = b"the old model " * 300
NEW = b"the new model " * 300

# Everything by which an update changes the disk, apart from SQLite's own writes, which the journal's methods stand for.
SYSTEM_CALLS = ("fsync", "replace", "rename", "symlink", "unlink", "mkdir", "rmdir", "fchmod")


class KilledError(Exception):
    """The process was killed at the wanted moment."""


def run_and_kill(work, moment: int) -> None:
    """Runs ``work`` in a process of its own that is killed right before its change number ``moment``.

    Raises:
        KilledError: It was. Otherwise the work came to its end first.
    """
    child = os.fork()
    if child == 0:
        status = 1
        try:
            _kill_at(moment)
            work()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        raise KilledError
    assert os.WEXITSTATUS(status) == 0, "the agent itself failed"


def _kill_at(moment: int) -> None:
    changes = itertools.count()

    def count() -> None:
        if next(changes) == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    def counted(real, *, after: bool):
        def call(*args, **options):
            count()
            result = real(*args, **options)
            if after:
                count()
            return result

        return call

    for name in SYSTEM_CALLS:
        setattr(os, name, counted(getattr(os, name), after=False))
    for name in ("add", "record"):
        setattr(Journal, name, counted(getattr(Journal, name), after=True))


def assert_sound(state_dir, *, allowed) -> None:
    """What is served is complete, and one of those that may be."""
    slots = Slots(state_dir)
    if slots.current is None:
        assert None in allowed
        return
    slots.verify(slots.current)
    assert (state_dir / "current" / "model.onnx").read_bytes() in allowed


@pytest.fixture
def server(tmp_path):
    return ReleaseServer(tmp_path / "server")


@pytest.fixture
def moments(server, tmp_path):
    """Devices that all start from the same state and are each killed one change later than the one before."""

    def devices(*, serving=None, prepare=lambda: None, allowed, wish):
        base = UpdatingDevice(tmp_path / "base", server)
        if serving is not None:
            base.run(serving)
        for moment in itertools.count():
            state_dir = tmp_path / f"killed-{moment}"
            shutil.copytree(base.state_dir, state_dir, symlinks=True)
            device = UpdatingDevice(state_dir, server)

            def work(device=device):
                prepare()
                device.run(wish)

            try:
                run_and_kill(work, moment)
            except KilledError:
                assert_sound(state_dir, allowed=allowed)
                yield moment, device
                shutil.rmtree(state_dir)
            else:
                # It was never killed: there is no later moment.
                assert moment > 20
                return

    return devices


def test_an_update_that_is_killed_at_any_moment_is_finished_by_the_next_process(server, moments):
    old = server.release(version="1", counter=1, model=OLD)
    new = server.release(version="2", counter=2, model=NEW)
    for _moment, device in moments(serving=old, allowed={OLD, NEW}, wish=new):
        # Before its wish was stored the device cannot know of it: the orchestrator says it again.
        device.run(new)
        assert device.served() == NEW
        assert device.last(new).state is DeploymentState.ACTIVE
        assert Slots(device.state_dir).previous == old.manifest_sha256
        assert device.slots() == {old.manifest_sha256, new.manifest_sha256}


@pytest.mark.thorough
def test_a_first_release_that_is_killed_at_any_moment_is_finished_by_the_next_process(server, moments):
    new = server.release(version="1", counter=1, model=NEW)
    for _moment, device in moments(allowed={None, NEW}, wish=new):
        device.run(new)
        assert device.served() == NEW
        assert device.last(new).state is DeploymentState.ACTIVE


@pytest.mark.thorough
def test_going_back_that_is_killed_at_any_moment_is_finished_by_the_next_process(server, moments, monkeypatch):
    old = server.release(version="1", counter=1, model=OLD)
    new = server.release(version="2", counter=2, model=NEW)
    real = Slots.verify

    def refuse_what_is_served(self, manifest_sha256):
        manifest = real(self, manifest_sha256)
        if self.current == new.manifest_sha256:
            raise ArtifactRefusedError("not healthy")
        return manifest

    def prepare():
        monkeypatch.setattr(Slots, "verify", refuse_what_is_served)

    for moment, device in moments(serving=old, prepare=prepare, allowed={OLD, NEW}, wish=new):
        with monkeypatch.context() as patch:
            patch.setattr(Slots, "verify", refuse_what_is_served)
            device.run(new)
        assert device.last(new).state is DeploymentState.ROLLED_BACK, moment
        assert device.last(new).reason == "not healthy"
        assert device.served() == OLD
        device.run(server.again(new))
        assert device.served() == NEW


def test_a_device_that_is_killed_over_and_over_gets_there_in_the_end(server, tmp_path):
    old = server.release(version="1", counter=1, model=OLD)
    new = server.release(version="2", counter=2, model=NEW)
    device = UpdatingDevice(tmp_path / "state", server)
    device.run(old)
    for moment in range(6, 60, 6):
        with suppress(KilledError):
            run_and_kill(lambda: device.run(new), moment)
        assert_sound(device.state_dir, allowed={OLD, NEW})
    device.run(new)
    assert device.served() == NEW
    assert device.last(new).state is DeploymentState.ACTIVE


def test_a_model_whose_test_kills_the_agent_each_time_is_given_up(server, tmp_path):
    old = server.release(version="1", counter=1, model=OLD)
    new = server.release(version="2", counter=2, model=NEW)
    device = UpdatingDevice(tmp_path / "state", server)
    device.run(old)

    def live():
        device.checker.meanwhile = lambda path: os.kill(os.getpid(), signal.SIGKILL)
        device.run(new)

    deaths = 0
    for _ in range(20):
        try:
            run_and_kill(live, sys.maxsize)
        except KilledError:
            deaths += 1
    assert deaths == 4
    device.run(new)
    assert device.last(new).state is DeploymentState.FAILED
    assert "restarted 4 times while testing" in device.last(new).reason
    assert device.served() == OLD

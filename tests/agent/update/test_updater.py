import asyncio
import contextlib
import dataclasses

import pytest

from agent.artifacts import ArtifactStore
from agent.backoff import Backoff
from agent.errors import BusyError, NoSpaceError
from agent.profiling.measurement import Outcome
from agent.update import slots
from agent.update.journal import Journal
from agent.update.release import DeploymentState
from agent.update.slots import Slots
from orchestrator.releases.manifest import Compatibility
from tests.fakes.release_server import ReleaseServer
from tests.fakes.updating_device import Facts, Runtime, UpdatingDevice

MODEL = bytes(range(256)) * 20
NEWER = bytes(reversed(range(256))) * 20

WHOLE_WAY = [
    DeploymentState.PENDING,
    DeploymentState.DOWNLOADING,
    DeploymentState.VERIFYING,
    DeploymentState.TESTING,
    DeploymentState.ACTIVATING,
    DeploymentState.ACTIVE,
]


@pytest.fixture
def server(tmp_path):
    return ReleaseServer(tmp_path / "server")


@pytest.fixture
def device(server, tmp_path):
    return UpdatingDevice(tmp_path / "state", server)


@pytest.fixture
def running(server, device):
    """The device serves release 1."""
    desired = server.release(version="1", counter=1, model=MODEL)
    device.run(desired)
    assert device.served() == MODEL
    return desired


def assert_untouched(device, running):
    """Invariant: the old model is still served, whole, and said to be."""
    assert device.served() == MODEL
    assert Slots(device.state_dir).verify(running.manifest_sha256)
    assert device.reports[-1].active_release.manifest_sha256 == running.manifest_sha256


def test_a_release_goes_the_whole_way_and_each_step_is_reported(server, device):
    desired = server.release(version="1.0", counter=1, model=MODEL)
    device.run(desired)
    assert device.states(desired) == WHOLE_WAY
    report = device.last(desired)
    assert report.reason == ""
    assert (report.active_release.name, report.active_release.version) == ("digits", "1.0")
    assert report.active_release.manifest_sha256 == desired.manifest_sha256
    assert report.reported_at == server.clock.now
    assert device.served() == MODEL


def test_nothing_is_active_before_the_first_release(device):
    updater = device.updater()
    assert updater.active() is None
    asyncio.run(updater.close())


def test_the_model_is_tested_where_it_will_be_served_from_and_before_it_is(server, device):
    desired = server.release(model=MODEL)
    device.checker.meanwhile = lambda path: seen.append((path, device.served()))
    seen = []
    device.run(desired)
    request = device.checker.calls[0]
    assert seen == [(device.state_dir / "slots" / desired.manifest_sha256 / "model.onnx", None)]
    assert (request["artifact_format"], request["tolerance"], request["runtime"]) == ("onnx", 0.01, "onnxruntime")


def test_a_newer_release_takes_the_place_of_an_older_one_which_is_kept(server, device, running):
    newer = server.release(version="2", counter=2, model=NEWER)
    device.run(newer)
    assert device.served() == NEWER
    assert Slots(device.state_dir).previous == running.manifest_sha256
    assert device.slots() == {running.manifest_sha256, newer.manifest_sha256}


def test_only_two_slots_are_kept(server, device, running):
    releases = [server.release(version=str(n), counter=n, model=MODEL + bytes([n])) for n in range(2, 6)]
    device.run(*releases)
    assert device.slots() == {releases[-1].manifest_sha256, releases[-2].manifest_sha256}


def test_the_same_wish_again_changes_nothing(server, device, running):
    server.fetched.clear()
    device.run(running, running)
    assert server.fetched == []
    assert {report.report_id for report in device.reports if report.deployment_id == running.deployment_id} == {
        f"{running.deployment_id}:{state.value}" for state in WHOLE_WAY
    }


def test_a_release_that_already_runs_may_be_deployed_again(server, device, running):
    again = server.again(running)
    device.run(again)
    assert device.states(again) == WHOLE_WAY
    assert device.served() == MODEL
    assert Slots(device.state_dir).previous is None


def test_a_tampered_artifact_is_refused_and_the_old_model_keeps_serving(server, device, running):
    desired = server.release(version="2", counter=2, model=NEWER)
    sha256 = next(name for name, data in server.blobs.items() if data == NEWER)
    server.blobs[sha256] = NEWER[:-1] + b"\x01"
    device.run(desired)
    assert device.states(desired) == [
        DeploymentState.PENDING,
        DeploymentState.DOWNLOADING,
        DeploymentState.REFUSED,
    ]
    assert "hash" in device.last(desired).reason
    assert_untouched(device, running)
    assert device.slots() == {running.manifest_sha256}


@pytest.mark.parametrize("wrong", [NEWER + b"x", NEWER[:-1]], ids=["longer", "shorter"])
def test_an_artifact_of_another_size_is_refused(server, device, running, wrong):
    desired = server.release(version="2", counter=2, model=NEWER)
    server.blobs[next(name for name, data in server.blobs.items() if data == NEWER)] = wrong
    device.run(desired)
    assert device.last(desired).state is DeploymentState.REFUSED
    assert "bytes" in device.last(desired).reason
    assert_untouched(device, running)


def test_a_bit_that_flips_on_the_disk_is_found_before_the_model_is_tested(server, device, running, monkeypatch):
    desired = server.release(version="2", counter=2, model=NEWER)
    real = slots.copy_durably

    def flip(source, path, *, mode):
        real(source, path, mode=0o644)
        data = bytearray(path.read_bytes())
        data[100] ^= 1
        path.write_bytes(data)

    monkeypatch.setattr(slots, "copy_durably", flip)
    device.run(desired)
    assert device.states(desired)[-2:] == [DeploymentState.VERIFYING, DeploymentState.REFUSED]
    assert "wrong hash" in device.last(desired).reason
    assert len(device.checker.calls) == 1
    assert_untouched(device, running)


def test_a_release_that_nobody_signed_is_refused_without_a_download(server, device, running):
    desired = server.desire("digits/2.json", server.manifest(version="2", counter=2, model=NEWER))
    server.fetched.clear()
    device.run(desired)
    assert device.states(desired) == [DeploymentState.PENDING, DeploymentState.REFUSED]
    assert "does not know" in device.last(desired).reason
    assert not [path for path in server.fetched if not path.startswith("metadata/")]
    assert_untouched(device, running)


def test_an_older_release_than_the_one_that_runs_is_refused(server, device):
    old = server.release(version="1", counter=1, model=MODEL)
    new = server.release(version="2", counter=2, model=NEWER)
    device.run(new, old)
    assert device.last(old).state is DeploymentState.REFUSED
    assert "rollback refused" in device.last(old).reason
    assert device.served() == NEWER


def test_a_release_that_was_once_left_behind_stays_behind_after_another_name_ran(server, device):
    old = server.release(version="1", counter=1, model=MODEL)
    new = server.release(version="2", counter=2, model=NEWER)
    other = server.release(name="words", version="1", counter=1, model=b"words")
    device.run(new, other, old)
    assert device.last(other).state is DeploymentState.ACTIVE
    assert device.last(old).state is DeploymentState.REFUSED


def test_without_its_journal_a_device_still_knows_what_it_must_not_go_below(server, device):
    old = server.release(version="1", counter=1, model=MODEL)
    new = server.release(version="2", counter=2, model=NEWER)
    device.run(new)
    (device.state_dir / "updates.db").write_bytes(b"gone")
    device.run(old)
    assert device.last(old).state is DeploymentState.REFUSED
    assert device.served() == NEWER


@pytest.mark.parametrize(
    ("limits", "why"),
    [
        ({"architectures": ("x86_64",)}, "this device is aarch64"),
        ({"runtimes": ("litert",)}, "needs a runtime"),
    ],
)
def test_a_release_for_another_device_is_refused_without_a_download(server, device, running, limits, why):
    desired = server.release(version="2", counter=2, model=NEWER, compat=Compatibility(**limits))
    device.run(desired)
    assert device.states(desired) == [DeploymentState.PENDING, DeploymentState.REFUSED]
    assert why in device.last(desired).reason
    assert_untouched(device, running)


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        (Outcome.NUMERICS_FAILED, DeploymentState.FAILED),
        (Outcome.CRASHED, DeploymentState.FAILED),
        (Outcome.OUT_OF_MEMORY, DeploymentState.FAILED),
        (Outcome.TIMED_OUT, DeploymentState.FAILED),
        (Outcome.UNSUPPORTED, DeploymentState.REFUSED),
        (Outcome.RUNTIME_UNAVAILABLE, DeploymentState.REFUSED),
        (Outcome.ARTIFACT_REFUSED, DeploymentState.REFUSED),
    ],
)
def test_a_model_that_does_not_pass_its_golden_inputs_is_never_served(server, device, running, outcome, state):
    desired = server.release(version="2", counter=2, model=NEWER)
    device.checker.outcomes[NEWER] = outcome
    device.run(desired)
    assert device.states(desired)[-2:] == [DeploymentState.TESTING, state]
    assert "as the test wants" in device.last(desired).reason
    assert_untouched(device, running)
    assert device.slots() == {running.manifest_sha256}


def test_every_outcome_of_a_test_but_one_is_handled_as_a_reason_not_to_serve():
    handled = {case for case in Outcome if case not in (Outcome.OK, Outcome.CANCELLED)}
    marks = test_a_model_that_does_not_pass_its_golden_inputs_is_never_served.pytestmark
    assert handled == {outcome for outcome, _ in marks[0].args[1]}


def test_outputs_that_were_not_compared_prove_nothing(server, device, running):
    desired = server.release(version="2", counter=2, model=NEWER)
    device.checker.compared = False
    device.run(desired)
    assert device.last(desired).state is DeploymentState.FAILED
    assert_untouched(device, running)


def test_a_model_that_is_damaged_after_the_switch_is_rolled_back(server, device, running, monkeypatch):
    desired = server.release(version="2", counter=2, model=NEWER)
    real = Slots.switch

    def damage(self, manifest_sha256):
        real(self, manifest_sha256)
        path = device.state_dir / "current" / "model.onnx"
        path.chmod(0o644)
        path.write_bytes(b"damaged")

    monkeypatch.setattr(Slots, "switch", damage)
    device.run(desired)
    assert device.states(desired)[-2:] == [DeploymentState.ACTIVATING, DeploymentState.ROLLED_BACK]
    assert "wrong size" in device.last(desired).reason
    assert_untouched(device, running)
    assert device.slots() == {running.manifest_sha256}


def test_a_first_release_that_fails_after_the_switch_leaves_nothing_served(server, device, monkeypatch):
    desired = server.release(model=MODEL)
    real = Slots.switch

    def damage(self, manifest_sha256):
        real(self, manifest_sha256)
        (device.state_dir / "current" / "model.onnx").unlink()

    monkeypatch.setattr(Slots, "switch", damage)
    device.run(desired)
    assert device.last(desired).state is DeploymentState.ROLLED_BACK
    assert device.last(desired).active_release is None
    assert device.served() is None


def test_going_back_is_tried_until_it_succeeds(server, device, running, monkeypatch):
    desired = server.release(version="2", counter=2, model=NEWER)
    real, tries = Slots.restore, []

    def restore(self, manifest_sha256):
        tries.append(manifest_sha256)
        if len(tries) < 4:
            raise NoSpaceError("no space left")
        real(self, manifest_sha256)

    monkeypatch.setattr(Slots, "restore", restore)
    real_switch = Slots.switch

    def damage(self, manifest_sha256):
        real_switch(self, manifest_sha256)
        (device.state_dir / "current" / "model.onnx").unlink()

    monkeypatch.setattr(Slots, "switch", damage)
    device.run(desired)
    assert len(tries) == 4
    assert device.last(desired).state is DeploymentState.ROLLED_BACK
    assert "has no model.onnx" in device.last(desired).reason
    assert_untouched(device, running)


def test_a_switch_that_the_disk_refuses_is_rolled_back_to_what_was_served(server, device, running, monkeypatch):
    desired = server.release(version="2", counter=2, model=NEWER)

    def refuse(self, manifest_sha256):
        raise NoSpaceError("no space left for current")

    monkeypatch.setattr(Slots, "switch", refuse)
    device.run(desired)
    assert device.last(desired).state is DeploymentState.ROLLED_BACK
    assert "no space left" in device.last(desired).reason
    assert_untouched(device, running)


def test_a_deployment_that_was_refused_is_not_begun_again_and_a_new_one_of_the_same_release_is(server, device):
    desired = server.release(model=MODEL)
    sha256 = next(name for name, data in server.blobs.items() if data == MODEL)
    server.blobs[sha256] = b"x" * len(MODEL)
    device.run(desired)
    assert device.last(desired).state is DeploymentState.REFUSED
    server.blobs[sha256] = MODEL
    server.fetched.clear()
    device.run(desired, desired)
    assert server.fetched == []
    assert device.last(desired).state is DeploymentState.REFUSED
    again = server.again(desired)
    device.run(again)
    assert device.last(again).state is DeploymentState.ACTIVE


def test_a_download_that_is_cut_goes_on_where_it_was(server, device):
    desired = server.release(model=MODEL)
    server.cuts = [1000, 2000, 2000, 4000]
    device.run(desired)
    assert server.cuts == []
    assert device.last(desired).state is DeploymentState.ACTIVE
    assert server.served_bytes == len(MODEL) + len(b"golden ") + 20


def test_a_download_goes_on_in_the_next_process(server, device):
    desired = server.release(model=MODEL)
    server.cuts = [3000]

    async def cut_and_die():
        async with device.agent() as updater:
            await updater.desire(desired)
            while server.cuts:
                await asyncio.sleep(0.001)

    asyncio.run(cut_and_die())
    device.run()
    assert device.last(desired).state is DeploymentState.ACTIVE
    assert server.served_bytes == len(MODEL) + len(b"golden ") + 20


def test_a_device_whose_orchestrator_is_away_waits_and_keeps_serving(server, device, running):
    desired = server.release(version="2", counter=2, model=NEWER)
    server.reachable = False

    async def wait():
        async with device.agent() as updater:
            await updater.desire(desired)
            while server.fetched.count("metadata/2.root.json") < 4:
                await asyncio.sleep(0.001)
            assert device.last(desired).state is DeploymentState.PENDING
            assert device.served() == MODEL
            server.reachable = True
            await asyncio.wait_for(updater.settled(), 30)

    asyncio.run(wait())
    assert device.served() == NEWER


def test_a_wish_said_again_ends_the_waiting(server, device):
    desired = server.release(model=MODEL)
    server.reachable = False

    class Endless(Backoff):
        def next_s(self):
            return 3600.0

    async def wait():
        async with device.agent(backoff=Endless()) as updater:
            await updater.desire(desired)
            while not server.fetched:
                await asyncio.sleep(0.001)
            await asyncio.sleep(0.05)
            server.reachable = True
            await updater.desire(desired)
            await asyncio.wait_for(updater.settled(), 30)

    asyncio.run(wait())
    assert device.served() == MODEL


def test_a_busy_device_tests_later(server, device):
    desired = server.release(model=MODEL)

    def busy_twice(path):
        if len(device.checker.calls) < 3:
            raise BusyError("a measurement is running")

    device.checker.meanwhile = busy_twice
    device.run(desired)
    assert len(device.checker.calls) == 3
    assert device.last(desired).state is DeploymentState.ACTIVE


def test_a_fault_of_our_own_fails_one_deployment_and_not_the_agent(server, device, running, caplog):
    desired = server.release(version="2", counter=2, model=NEWER)

    def fault(path):
        raise ZeroDivisionError("a bug")

    device.checker.meanwhile = fault
    device.run(desired)
    assert device.last(desired).state is DeploymentState.FAILED
    assert "internal error: ZeroDivisionError: a bug" in device.last(desired).reason
    assert "Traceback" in caplog.text
    assert_untouched(device, running)
    device.checker.meanwhile = None
    device.run(server.again(desired))
    assert device.served() == NEWER


@pytest.mark.parametrize("moment", ["proving", "downloading", "testing"])
def test_a_newer_release_takes_over_before_the_switch(server, device, running, moment):
    older = server.release(version="2", counter=2, model=NEWER)
    newest = server.release(version="3", counter=3, model=b"three" * 100)
    reached, forever = asyncio.Event(), asyncio.Event()

    async def stop_here(*_args):
        reached.set()
        await forever.wait()

    class Halting:
        """Delivers up to a point, and from there on nothing to whoever waits for the older release."""

        def __init__(self):
            self.halted = False

        async def fetch_repository_file(self, path):
            if moment == "proving" and path.startswith("targets/") and not self.halted:
                self.halted = True
                await stop_here()
            return await server.fetch_repository_file(path)

        async def fetch_artifact(self, sha256, *, offset=0):
            if moment == "downloading" and server.blobs[sha256] == NEWER:
                await stop_here()
            async for chunk in server.fetch_artifact(sha256, offset=offset):
                yield chunk

    if moment == "testing":
        device.checker.meanwhile = lambda path: stop_here() if path.read_bytes() == NEWER else None

    async def take_over():
        halting = Halting()
        store = ArtifactStore(device.state_dir / "stage", halting, quota_bytes=1 << 30, reserve_bytes=0)
        async with device.agent(delivery=halting, artifacts=store) as updater:
            await updater.desire(older)
            await asyncio.wait_for(reached.wait(), 30)
            await updater.desire(newest)
            await asyncio.wait_for(updater.settled(), 30)

    asyncio.run(take_over())
    assert device.last(older).state is DeploymentState.SUPERSEDED
    assert DeploymentState.ACTIVATING not in device.states(older)
    assert device.last(newest).state is DeploymentState.ACTIVE
    assert device.served() == b"three" * 100
    assert device.slots() == {running.manifest_sha256, newest.manifest_sha256}


def test_a_newer_release_that_comes_in_the_instant_in_which_a_test_ends_still_takes_over(server, device, running):
    older = server.release(version="2", counter=2, model=NEWER)
    newest = server.release(version="3", counter=3, model=b"three")

    async def live():
        async with device.agent() as updater:

            def wish():
                # Runs after the test has ended and before the updater has looked at how; `desire` never waits.
                with contextlib.suppress(StopIteration):
                    updater.desire(newest).send(None)

            device.checker.meanwhile = lambda path: (
                asyncio.get_running_loop().call_soon(wish) if path.read_bytes() == NEWER else None
            )
            await updater.desire(older)
            await asyncio.wait_for(updater.settled(), 30)

    asyncio.run(live())
    assert device.states(older) == [
        DeploymentState.PENDING,
        DeploymentState.DOWNLOADING,
        DeploymentState.VERIFYING,
        DeploymentState.TESTING,
        DeploymentState.SUPERSEDED,
    ]
    assert device.last(newest).state is DeploymentState.ACTIVE


def test_a_newer_release_waits_for_a_switch_that_has_begun(server, device, running, monkeypatch):
    older = server.release(version="2", counter=2, model=NEWER)
    newest = server.release(version="3", counter=3, model=b"three")
    wish = []
    real = Slots.switch

    def switch(self, manifest_sha256):
        if manifest_sha256 == older.manifest_sha256:
            loop.call_soon_threadsafe(lambda: wish.append(loop.create_task(updater.desire(newest))))
        real(self, manifest_sha256)

    monkeypatch.setattr(Slots, "switch", switch)

    async def live():
        nonlocal loop, updater
        loop = asyncio.get_running_loop()
        async with device.agent() as updater:
            await updater.desire(older)
            while not wish:
                await asyncio.sleep(0.001)
            await wish[0]
            await asyncio.wait_for(updater.settled(), 30)

    loop = updater = None
    asyncio.run(live())
    assert device.last(older).state is DeploymentState.ACTIVE
    assert device.last(newest).state is DeploymentState.ACTIVE
    assert Slots(device.state_dir).previous == older.manifest_sha256


def test_of_many_wishes_at_once_only_the_newest_is_fetched(server, device):
    wishes = [server.release(version=str(n), counter=n, model=b"model" + bytes([n])) for n in range(1, 8)]

    async def live():
        async with device.agent() as updater:
            for desired in wishes:
                await updater.desire(desired)
            await asyncio.wait_for(updater.settled(), 30)

    asyncio.run(live())
    assert [device.last(wish).state for wish in wishes] == [DeploymentState.SUPERSEDED] * 6 + [DeploymentState.ACTIVE]
    assert len(device.checker.calls) == 1


def test_what_cannot_be_stored_is_not_done_and_is_tried_again(server, device, monkeypatch):
    desired = server.release(model=MODEL)
    real, failures = Journal.record, [3]

    def record(self, deployment, **options):
        if failures[0] > 0:
            failures[0] -= 1
            raise NoSpaceError("the journal is full")
        real(self, deployment, **options)

    monkeypatch.setattr(Journal, "record", record)
    device.run(desired)
    assert failures == [0]
    assert device.states(desired) == WHOLE_WAY


def test_the_worker_is_given_the_runtime_that_loads_the_format(server, device):
    device.facts = Facts(runtimes=(Runtime("litert", ("tflite",)), Runtime("onnxruntime", ("onnx",))))
    device.run(server.release(model=MODEL))
    assert device.checker.calls[0]["runtime"] == "onnxruntime"


def test_active_tells_the_truth_about_a_slot_that_was_taken_away(server, device, running):
    updater = device.updater()
    assert updater.active().manifest_sha256 == running.manifest_sha256
    manifest = device.state_dir / "current" / "manifest.json"
    manifest.unlink()
    assert updater.active() is None
    asyncio.run(updater.close())


def test_reports_name_the_same_step_in_the_same_way(server, device, running):
    device.run()
    repeated = [report for report in device.reports if report.state is DeploymentState.ACTIVE]
    assert len(repeated) == 2
    assert dataclasses.replace(repeated[0], reported_at=repeated[1].reported_at) == repeated[1]

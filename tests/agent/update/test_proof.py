"""The proof in a process of its own: real processes, real pipes."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from agent.errors import ConfigurationError, DeliveryError, SignatureRefusedError, UnreachableError
from agent.update import proof
from agent.update.proof import ProofRequest, prove_apart
from agent.update.release import DeploymentState
from tests.fakes.release_server import NOON, ReleaseServer
from tests.fakes.updating_device import UpdatingDevice


@pytest.fixture
def server(tmp_path):
    return ReleaseServer(tmp_path / "server")


@pytest.fixture
def request_for(server, tmp_path):
    def make(desired, **changes):
        server.trust(tmp_path / "state")
        given = {
            "path": desired.manifest_path,
            "sha256": desired.manifest_sha256,
            "trust_root": tmp_path / "state" / "trust" / "root.json",
            "directory": tmp_path / "state" / "trust" / "tuf",
            "now": server.clock(),
        }
        return ProofRequest(**given | changes)

    return make


def children() -> set[int]:
    """Processes that this one has started and that are still there."""
    listed = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    return {int(process_id) for process_id in listed.split()}


@pytest.fixture(autouse=True)
def no_process_stays_behind():
    before = children()
    yield
    assert children() <= before


def test_a_request_survives_the_way_to_the_process():
    request = ProofRequest(path="a/1.json", sha256="a" * 64, trust_root=Path("/r"), directory=Path("/d e"), now=NOON)
    assert ProofRequest.from_json(request.to_json()) == request


def test_a_signed_release_is_proven(server, request_for):
    manifest = server.manifest(version="1")
    desired = server.release(version="1")
    assert asyncio.run(prove_apart(request_for(desired), server.fetch_repository_file)) == manifest


def test_a_forged_release_is_refused_in_the_words_of_the_attack(server, request_for):
    desired = server.release()
    server.alter = lambda path, data: data.replace(b"2026", b"2036") if path.endswith("timestamp.json") else data
    with pytest.raises(SignatureRefusedError, match="forged: not signed"):
        asyncio.run(prove_apart(request_for(desired), server.fetch_repository_file))


def test_a_hint_comes_along(server, request_for, tmp_path):
    desired = server.release()
    with pytest.raises(SignatureRefusedError, match="no root of trust") as caught:
        asyncio.run(prove_apart(request_for(desired, trust_root=tmp_path / "gone"), server.fetch_repository_file))
    assert caught.value.hint == "join the fleet again"


def test_a_directory_that_cannot_be_made_is_said_so(server, request_for, tmp_path):
    (tmp_path / "file").write_text("in the way")
    desired = server.release()
    with pytest.raises(ConfigurationError, match="file"):
        asyncio.run(
            prove_apart(request_for(desired, directory=tmp_path / "file" / "tuf"), server.fetch_repository_file)
        )


def test_an_orchestrator_that_goes_away_ends_the_process(server, request_for):
    desired = server.release()
    server.reachable = False
    with pytest.raises(UnreachableError, match="away"):
        asyncio.run(prove_apart(request_for(desired), server.fetch_repository_file))


def test_a_proof_that_is_called_off_ends_the_process(server, request_for):
    desired = server.release()

    async def call_off():
        reached = asyncio.Event()

        async def never(path):
            reached.set()
            await asyncio.Event().wait()

        running = asyncio.create_task(prove_apart(request_for(desired), never))
        await asyncio.wait_for(reached.wait(), 30)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(call_off())


def test_a_process_that_is_killed_is_noticed(server, request_for):
    desired = server.release()
    before = children()

    async def kill(path):
        for process_id in children() - before:
            os.kill(process_id, signal.SIGKILL)
        await asyncio.sleep(0.05)

    with pytest.raises(DeliveryError, match=r"went away|without an answer"):
        asyncio.run(prove_apart(request_for(desired), kill))


def test_a_process_that_does_not_start_properly_is_noticed(server, request_for, monkeypatch):
    desired = server.release()
    monkeypatch.setattr(proof.sys, "executable", "/bin/false")
    with pytest.raises(DeliveryError, match=r"went away|without an answer"):
        asyncio.run(prove_apart(request_for(desired), server.fetch_repository_file))


def test_an_update_with_its_own_process_goes_the_whole_way(server, tmp_path):
    device = UpdatingDevice(tmp_path / "state", server)
    good, bad = server.release(model=b"a model"), server.desire("digits/9.json", b"{}")
    device.run(good, bad, prove=prove_apart)
    assert device.last(good).state is DeploymentState.ACTIVE
    assert device.last(bad).state is DeploymentState.REFUSED
    assert device.served() == b"a model"


def test_the_agent_never_loads_the_client():
    code = (
        "import sys, agent.update.updater, agent.update.proof;"
        "print([name for name in sys.modules if name.split('.')[0] in ('tuf', 'securesystemslib', 'urllib3')])"
    )
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert ran.stdout.strip() == "[]"

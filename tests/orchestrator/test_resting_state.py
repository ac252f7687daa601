"""Reading what an orchestrator left that does not run."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.app import running
from orchestrator.client import Client
from orchestrator.clock import utc_now
from orchestrator.config import Config
from orchestrator.data_directory import DataDirectory
from orchestrator.errors import ConflictError
from orchestrator.fleet.device import Device, DeviceFacts
from orchestrator.resting_state import resting_state
from tests.fakes.idle_engine import IdleEngine


@pytest.fixture
def left(tmp_path: Path) -> Path:
    """A data directory that an orchestrator with one device has left."""
    asyncio.run(_leave_a_device(tmp_path))
    return tmp_path


async def _leave_a_device(tmp_path: Path) -> None:
    config = Config(data_dir=tmp_path, host="127.0.0.1", public_port=0, device_port=0)
    with DataDirectory(config.layout):
        async with running(config, engine=IdleEngine(), clock=utc_now) as orchestrator:
            device = Device(
                id="5c1d3c4e-0000-4000-8000-000000000001", name="bench", key_fingerprint="ab" * 32,
                facts=DeviceFacts(hostname="bench", architecture="aarch64"),
                certificate_expires_at=utc_now(), enrolled_at=utc_now(),
            )  # fmt: skip
            await orchestrator.database.run(lambda tx: tx.devices.add(device))


def test_the_state_answers_while_nothing_runs(left: Path) -> None:
    with (
        resting_state(left) as endpoints,
        Client.connect(endpoints.public_address, ca=endpoints.ca_path, data_dir=left) as client,
    ):
        assert [device.name for device in client.list_devices()] == ["bench"]


def test_a_running_orchestrator_is_not_disturbed(left: Path) -> None:
    with DataDirectory(Config(data_dir=left).layout), pytest.raises(ConflictError), resting_state(left):
        pytest.fail("it must not be entered")


def test_a_reading_command_shows_it_and_a_changing_one_does_not(left: Path) -> None:
    fleetfit = [str(Path(sys.executable).parent / "fleetfit")]
    read = subprocess.run([*fleetfit, "device", "list", "--json", "--data-dir", str(left)],
                          capture_output=True, text=True, timeout=60)  # fmt: skip
    assert read.returncode == 0, read.stderr
    assert [device["name"] for device in json.loads(read.stdout)["devices"]] == ["bench"]
    assert "No orchestrator runs" in read.stderr
    changed = subprocess.run([*fleetfit, "device", "remove", "bench", "--yes", "--data-dir", str(left)],
                             capture_output=True, text=True, timeout=60)  # fmt: skip
    assert changed.returncode == 6
    assert "no orchestrator runs" in changed.stderr

import socket

import pytest
from rich.console import Console

from orchestrator.cli.demo_stage import Stage
from orchestrator.config import DEFAULT_DEVICE_PORT, DEFAULT_PUBLIC_PORT
from orchestrator.errors import ConflictError
from tests.fakes.fake_api import FakeServer


def stage(root) -> Stage:
    return Stage(console=Console(), root=root)


def test_ports_are_kept_from_run_to_run(tmp_path):
    assert stage(tmp_path / "demo")._ports() == stage(tmp_path / "demo")._ports()


def test_a_port_that_is_taken_is_replaced_by_a_free_one(tmp_path):
    before = stage(tmp_path)._ports()
    with socket.create_server(("127.0.0.1", before[1])):
        after = stage(tmp_path)._ports()
    assert after[0] == before[0]
    assert after[1] not in (before[1], DEFAULT_PUBLIC_PORT, DEFAULT_DEVICE_PORT)


def test_kept_ports_that_make_no_sense_are_forgotten(tmp_path):
    (tmp_path / "ports.json").write_text("[7443")
    assert len(stage(tmp_path)._ports()) == 2


def test_an_artifact_leaves_the_devices_cache(tmp_path):
    cached = tmp_path / "device" / "stage" / "abcd"
    cached.parent.mkdir(parents=True)
    cached.touch()
    (cached.parent / "other").touch()
    stage(tmp_path).forget_artifact("abcd")
    assert [path.name for path in cached.parent.iterdir()] == ["other"]


def test_two_demos_in_one_place_are_refused(server: FakeServer):
    with pytest.raises(ConflictError, match="already uses"):
        stage(server.data_dir).start_orchestrator([])


def test_a_machine_that_has_not_joined_is_no_known_device(tmp_path):
    assert stage(tmp_path)._agent_status() is None

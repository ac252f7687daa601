"""The orchestrator as a process: begins, can be reached, and ends."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.client.client import Client
from orchestrator.config import Layout
from orchestrator.data_directory import read_endpoints

HEAVY = ("ray", "torch", "onnx", "onnxruntime")

SERVE = """
import asyncio, pathlib, sys
from orchestrator.app import serve
from orchestrator.config import Config
from orchestrator.errors import FleetfitError
config = Config(data_dir=pathlib.Path(sys.argv[1]), public_port=int(sys.argv[2]), device_port=int(sys.argv[3]))
try:
    asyncio.run(serve(config, ready=lambda endpoints: print("ready", endpoints.public_address, flush=True)))
except FleetfitError as error:
    print(error.reason, error.message, error.hint, sep=" | ", flush=True)
    sys.exit(error.exit_code)
print("ended", flush=True)
"""


class Process:
    """A serving process; gone at the end of the test."""

    def __init__(self, data_dir: Path, *, ports: tuple[int, int] = (0, 0), before: str = "") -> None:
        arguments = [sys.executable, "-c", before + SERVE, str(data_dir), *map(str, ports)]
        self.popen = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.pid = self.popen.pid

    def line(self) -> str:
        assert self.popen.stdout is not None
        return self.popen.stdout.readline().strip()

    def ends(self, within_s: float = 20) -> int:
        try:
            return self.popen.wait(within_s)
        finally:
            self.popen.kill()
            self.popen.communicate()


@pytest.fixture
def processes() -> Iterator[list[Process]]:
    started: list[Process] = []
    yield started
    for process in started:
        process.popen.kill()
        process.popen.communicate()


def _start(processes: list[Process], data_dir: Path, **options: object) -> Process:
    processes.append(Process(data_dir, **options))  # type: ignore[arg-type]
    return processes[-1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_a_signal_and_leaves_nothing_behind(
    processes: list[Process], tmp_path: Path, number: signal.Signals
) -> None:
    process = _start(processes, tmp_path)
    ready = process.line()
    endpoints = read_endpoints(Layout(root=tmp_path))
    assert endpoints is not None
    assert ready == f"ready {endpoints.public_address}"
    assert endpoints.pid == process.pid
    with Client.connect(data_dir=tmp_path) as client:
        assert client.server_info().role == "admin"
        assert client.list_devices() == ()
    process.popen.send_signal(number)
    assert process.line() == "ended"
    assert process.ends() == 0
    assert not Layout(root=tmp_path).endpoint.exists()


def test_it_ends_while_somebody_watches(processes: list[Process], tmp_path: Path) -> None:
    process = _start(processes, tmp_path)
    process.line()
    with Client.connect(data_dir=tmp_path) as client:
        client.server_info()
        process.popen.send_signal(signal.SIGTERM)
        assert process.line() == "ended"
        assert process.ends() == 0


def test_a_second_signal_ends_it_at_once(processes: list[Process], tmp_path: Path) -> None:
    hang = (
        "import asyncio, orchestrator.execution.ray_engine as engine\n"
        "async def close(self):\n"
        "    print('closing', flush=True)\n"
        "    await asyncio.sleep(600)\n"
        "engine.RayEngine.close = close\n"
    )
    process = _start(processes, tmp_path, before=hang)
    process.line()
    process.popen.send_signal(signal.SIGINT)
    assert process.line() == "closing"
    process.popen.send_signal(signal.SIGINT)
    assert process.ends() == 128 + signal.SIGINT
    assert not Layout(root=tmp_path).endpoint.exists()


def test_what_it_made_survives_its_death(processes: list[Process], tmp_path: Path) -> None:
    layout = Layout(root=tmp_path)
    first = _start(processes, tmp_path)
    first.line()
    before = [path.read_bytes() for path in (layout.ca_certificate, layout.operator_token)]
    with Client.connect(data_dir=tmp_path) as client:
        made = client.create_join_token()
    first.popen.kill()
    first.popen.wait(10)
    # What it announced is still there, and counts no more.
    assert layout.endpoint.exists()
    assert read_endpoints(layout) is None
    second = _start(processes, tmp_path)
    second.line()
    assert [path.read_bytes() for path in (layout.ca_certificate, layout.operator_token)] == before
    with Client.connect(data_dir=tmp_path) as client:
        assert [token.id for token in client.list_join_tokens()] == [made.token.id]


def test_a_second_one_on_the_same_directory_is_refused(processes: list[Process], tmp_path: Path) -> None:
    first = _start(processes, tmp_path)
    first.line()
    second = _start(processes, tmp_path)
    line = second.line()
    assert line.startswith("DATA_DIRECTORY_IN_USE | ")
    assert f"process {first.pid}, " in line
    assert second.ends() == 7
    with Client.connect(data_dir=tmp_path) as client:
        client.server_info()


@pytest.mark.parametrize(("position", "option"), [(0, "--port"), (1, "--device-port")])
def test_a_port_in_use_is_named_with_its_option_before_anything_is_made(
    processes: list[Process], tmp_path: Path, position: int, option: str
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ports = (port, 0) if position == 0 else (0, port)
        process = _start(processes, tmp_path, ports=ports)
        line = process.line()
        assert line.startswith(f"PORT_IN_USE | port {port} on 127.0.0.1 is in use | ")
        assert line.endswith(option)
        assert process.ends() == 7
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_one_port_for_both_is_refused(processes: list[Process], tmp_path: Path) -> None:
    process = _start(processes, tmp_path, ports=(7999, 7999))
    assert process.line().startswith("INVALID_INPUT | port 7999 was given twice")
    assert process.ends() == 2


def test_a_full_disk_is_said_in_one_line_and_does_not_stand_in_the_way_later(
    processes: list[Process], tmp_path: Path
) -> None:
    full = (
        "import errno, os\n"
        "def fsync(descriptor):\n"
        "    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))\n"
        "import orchestrator.durable_file\n"
        "orchestrator.durable_file.os = type('Full', (), {**vars(os), 'fsync': staticmethod(fsync)})\n"
    )
    process = _start(processes, tmp_path, before=full)
    line = process.line()
    assert "No space left on device" in line
    assert "--data-dir" in line
    assert process.ends() == 1
    again = _start(processes, tmp_path)
    assert again.line().startswith("ready ")


@pytest.mark.parametrize(
    "modules",
    [
        "orchestrator.config, orchestrator.data_directory, orchestrator.fleet.dispatcher, orchestrator.fleet.measuring",
        "orchestrator.app, orchestrator.api.services",
    ],
)
def test_serving_loads_neither_ray_nor_torch(modules: str) -> None:
    script = f"import sys, {modules}; print([name for name in {HEAVY} if name in sys.modules])"
    assert _output(script) == "[]"


def test_grpc_is_not_loaded_before_it_is_told_to_leave_forks_alone() -> None:
    script = (
        "import os, sys\n"
        "class Watch:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'grpc':\n"
        "            print(os.environ.get('GRPC_ENABLE_FORK_SUPPORT'))\n"
        "sys.meta_path.insert(0, Watch())\n"
        "import orchestrator.app\n"
    )
    assert _output(script) == "0"


def _output(script: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GRPC_")}
    shown = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60, env=environment
    )
    return shown.stdout.strip()

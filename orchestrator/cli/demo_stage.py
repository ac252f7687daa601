"""What the demo runs on: one data directory, two child processes, and free ports that stay the same."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.text import Text

from orchestrator.cli.processes import Child, script
from orchestrator.client import Client, Device, NewJoinToken
from orchestrator.config import DEFAULT_DEVICE_PORT, DEFAULT_PUBLIC_PORT, Layout
from orchestrator.data_directory import read_endpoints
from orchestrator.errors import ConflictError, NotFoundError, OperationError

DEVICE_NAME = "this-computer"

_START_TIMEOUT_S = 60.0
_JOIN_TIMEOUT_S = 60.0
# The agent's exit code where it has no identity, or one that counts no more.
_NO_IDENTITY = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """The demo's directory, which is an orchestrator's data directory with the device beside it, and its terminal."""

    console: Console
    root: Path

    @property
    def layout(self) -> Layout:
        """Where the orchestrator keeps what."""
        return Layout(root=self.root)

    @property
    def device_dir(self) -> Path:
        """State of the agent."""
        return self.root / "device"

    @property
    def log_dir(self) -> Path:
        """What the children write."""
        return self.root / "logs"

    def start_orchestrator(self, children: list[Child]) -> Child:
        """The orchestrator, answering.

        Raises:
            OperationError: It ended at once.
            ConflictError: Another demo runs.
        """
        running = read_endpoints(self.layout)
        if running is not None:
            raise ConflictError(
                f"an orchestrator (process {running.pid}) already uses {self.root}",
                hint="end it, or name another place with --data-dir",
            )
        ports = self._ports()
        command = ["fleetfit", "up", "--data-dir", str(self.root), "--port", str(ports[0]),
                   "--device-port", str(ports[1])]  # fmt: skip
        child = self._start("the orchestrator", command, children)

        def answers() -> bool:
            endpoints = read_endpoints(self.layout)
            return endpoints is not None and endpoints.pid == child.pid

        child.wait_until(answers, what="it answered", timeout_s=_START_TIMEOUT_S)
        return child

    def known_device(self, client: Client) -> Device | None:
        """The device that an earlier run left, where it can be used again."""
        status = self._agent_status()
        if status is None:
            return None
        try:
            device = client.get_device(str(status["device_id"]))
        except NotFoundError:
            device = None
        if device is not None and str(status["orchestrator"]) == client.server_info().device_address:
            return device
        # The identity is of another orchestrator, or for a port that another program has taken meanwhile.
        if device is not None:
            client.remove_device(device.id)
        shutil.rmtree(self.device_dir)
        return None

    def join(self, invitation: NewJoinToken, client: Client, children: list[Child]) -> Device:
        """The device after an agent that was started with the invitation has joined and connected."""
        command = ["fleetfit-agent", "join", invitation.address, "--token", invitation.secret, "--ca-hash",
                   invitation.ca_hash, "--name", DEVICE_NAME, "--state-dir", str(self.device_dir)]  # fmt: skip
        child = self._start("the device agent", command, children)
        child.wait_until(lambda: self._agent_status() is not None, what="it had joined", timeout_s=_JOIN_TIMEOUT_S)
        status = self._agent_status()
        return self._connected(child, client, str(status["device_id"]) if status is not None else "")

    def run_agent(self, device: Device, client: Client, children: list[Child]) -> Device | None:
        """The device after its agent has connected; None where its certificate has expired or is revoked."""
        child = self._start(
            "the device agent", ["fleetfit-agent", "run", "--state-dir", str(self.device_dir)], children
        )
        try:
            return self._connected(child, client, device.id)
        except OperationError:
            if child.exit_code != _NO_IDENTITY:
                raise
        children.remove(child)
        child.stop()
        client.remove_device(device.id)
        shutil.rmtree(self.device_dir)
        return None

    def forget_artifact(self, sha256: str) -> None:
        """Takes the artifact out of the device's cache."""
        for path in self.device_dir.rglob(f"{sha256}*"):
            if path.is_file():
                path.unlink()

    def say(self, *parts: str | tuple[str, str]) -> None:
        """Writes one line of the story."""
        self.console.print(Text.assemble("  ", *parts), soft_wrap=True)

    def _start(self, name: str, command: list[str], children: list[Child]) -> Child:
        log = self.log_dir / f"{command[0]}.log"
        child = Child(name, command, log=log)
        children.append(child)
        return child

    def _connected(self, child: Child, client: Client, device_id: str) -> Device:
        def online() -> bool:
            return client.get_device(device_id).online

        child.wait_until(online, what="it had connected", timeout_s=_JOIN_TIMEOUT_S)
        return client.get_device(device_id)

    def _agent_status(self) -> dict[str, object] | None:
        """What the agent says of itself; None where it has not joined."""
        # Our own script with our own arguments.
        finished = subprocess.run(  # noqa: S603
            [script("fleetfit-agent"), "status", "--json", "--state-dir", str(self.device_dir)],
            capture_output=True,
            check=False,
            timeout=_JOIN_TIMEOUT_S,
        )
        if finished.returncode != 0:
            return None
        status: dict[str, object] = json.loads(finished.stdout)
        return status

    def _ports(self) -> tuple[int, int]:
        """Two free ports: those of the last run, so that the device finds its way, or the usual ones, or any."""
        kept = self.root / "ports.json"
        try:
            public, device = json.loads(kept.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            public, device = DEFAULT_PUBLIC_PORT, DEFAULT_DEVICE_PORT
        with _listener(public) as first, _listener(device) as second:
            ports = first.getsockname()[1], second.getsockname()[1]
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        kept.write_text(json.dumps(ports), encoding="utf-8")
        return ports


def _listener(port: int) -> socket.socket:
    """A socket on that port, or on a free one where it is taken."""
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError:
        return socket.create_server(("127.0.0.1", 0))

"""Real processes for tests: an orchestrator, agents, and the CLI, each killed whatever happens."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BIN = Path(sys.executable).parent


@dataclass
class Process:
    """A child in a process group of its own, with its output in a file."""

    name: str
    popen: subprocess.Popen[bytes]
    log: Path

    @property
    def running(self) -> bool:
        return self.popen.poll() is None

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def kill(self) -> None:
        """As the kernel would: SIGKILL, to this process alone."""
        self.popen.kill()
        self.popen.wait(10)

    def stop(self) -> int:
        """As a user would: SIGINT, then patience."""
        if self.running:
            self.popen.send_signal(signal.SIGINT)
        try:
            return self.popen.wait(30)
        finally:
            self.end()

    def end(self) -> None:
        """Nothing of the group survives a test."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait(10)


@dataclass
class LocalFleet:
    """One orchestrator and its agents under one folder."""

    folder: Path
    environment: dict[str, str]
    processes: list[Process] = field(default_factory=list)

    @property
    def data_dir(self) -> Path:
        return self.folder / "orchestrator"

    def state_dir(self, device: str) -> Path:
        return self.folder / "devices" / device

    def start_orchestrator(self) -> Process:
        ports = [argument for name in ("--port", "--device-port") for argument in (name, str(self._port(name)))]
        process = self.start("fleetfit", "up", "--data-dir", str(self.data_dir), "--host", "127.0.0.1", *ports)
        endpoint = self.data_dir / "endpoint.json"

        def serving() -> bool:
            return endpoint.exists() and json.loads(endpoint.read_text())["pid"] == process.popen.pid

        self.wait(serving, "the orchestrator serves", process, timeout_s=60)
        return process

    def join(self, device: str) -> Process:
        """A new agent that joins and goes on running."""
        created = self.cli_json("join-token", "create")
        return self.start(
            "fleetfit-agent", "join", created["address"], "--token", created["token"], "--ca-hash", created["ca_hash"],
            "--name", device, "--state-dir", str(self.state_dir(device)),
        )  # fmt: skip

    def run_agent(self, device: str) -> Process:
        """An agent that joined before."""
        return self.start("fleetfit-agent", "run", "--state-dir", str(self.state_dir(device)))

    def start(self, command: str, *arguments: str) -> Process:
        log = self.folder / f"{len(self.processes)}-{command}-{arguments[0]}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as stream:
            popen = subprocess.Popen(
                [str(BIN / command), *arguments], stdin=subprocess.DEVNULL, stdout=stream, stderr=stream,
                start_new_session=True, env=self.environment,
            )  # fmt: skip
        process = Process(name=f"{command} {arguments[0]}", popen=popen, log=log)
        self.processes.append(process)
        return process

    def cli(self, *arguments: str, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(BIN / "fleetfit"), *arguments], capture_output=True, text=True, timeout=timeout_s,
            stdin=subprocess.DEVNULL, env={**self.environment, "FLEETFIT_DATA_DIR": str(self.data_dir)},
        )  # fmt: skip

    def cli_json(self, *arguments: str, timeout_s: float = 60) -> Any:
        finished = self.cli(*arguments, "--json", timeout_s=timeout_s)
        assert finished.returncode == 0, finished.stderr
        return json.loads(finished.stdout)

    def wait(self, condition: Callable[[], Any], what: str, *processes: Process, timeout_s: float = 60) -> None:
        """Waits until ``condition`` holds; fails with the logs when it does not, or when a process ends before."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            ended = [process for process in processes if not process.running]
            if ended or time.monotonic() > deadline:
                why = f"{ended[0].name} ended" if ended else f"not within {timeout_s} s"
                logs = "\n".join(f"--- {process.name}\n{process.output()[-4000:]}" for process in self.processes)
                raise AssertionError(f"waiting until {what}: {why}\n{logs}")
            time.sleep(0.2)

    def _port(self, name: str) -> int:
        """The same port at every start, so that devices find the orchestrator again."""
        kept = self.folder / f"port{name}"
        if not kept.exists():
            kept.parent.mkdir(parents=True, exist_ok=True)
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                kept.write_text(str(probe.getsockname()[1]))
        return int(kept.read_text())


@contextlib.contextmanager
def local_fleet(folder: Path, environment: Mapping[str, str] | None = None) -> Iterator[LocalFleet]:
    """A fleet without processes yet; whatever is started in it is gone at the end."""
    lock = folder / "host-lock"
    lock.mkdir(parents=True)
    fleet = LocalFleet(folder, {**os.environ, "FLEETFIT_HOST_LOCK_DIR": str(lock), **(environment or {})})
    try:
        yield fleet
    finally:
        for process in reversed(fleet.processes):
            process.end()

"""The data directory of a running orchestrator: claimed by one process, and saying where it can be reached."""

from __future__ import annotations

import fcntl
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

from orchestrator.config import Layout
from orchestrator.durable_file import write_durably
from orchestrator.errors import ConflictError, OperationError


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """Where a running orchestrator can be reached from this machine, and how to verify that it is the one."""

    # "host:port" for people and for machines that want to join.
    public_address: str
    # "host:port" for enrolled devices.
    device_address: str
    # Certificate of the authority that signed the server's.
    ca_path: str
    pid: int


def read_endpoints(layout: Layout) -> Endpoints | None:
    """Where the orchestrator of this data directory listens; None where none does.

    What a process left behind that was killed does not count: its claim on the directory ended with it.
    """
    try:
        endpoints = Endpoints(**json.loads(layout.endpoint.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return endpoints if _claimed(layout) else None


class DataDirectory:
    """The claim of this process on a data directory; a context manager.

    The claim is a lock of the kernel's: it ends with the process, however that ends.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._descriptor: int | None = None

    def __enter__(self) -> DataDirectory:
        """Claims the directory, and makes it where it is missing.

        Raises:
            ConflictError: Another orchestrator uses it; the message names its process.
            OperationError: It cannot be made or written to.
        """
        root = self._layout.root
        try:
            root.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(self._layout.lock, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise OperationError(
                f"cannot use the data directory {root}: {error.strerror}", hint="choose another with --data-dir"
            ) from error
        if not _lock(descriptor):
            holder = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
            os.close(descriptor)
            raise ConflictError(
                f"another orchestrator, process {holder}, uses the data directory {root}",
                hint="stop it first, or choose another with --data-dir",
                reason="DATA_DIRECTORY_IN_USE",
            )
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        self._descriptor = descriptor
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.withdraw()
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def announce(self, endpoints: Endpoints) -> None:
        """Tells other processes of this machine where we listen."""
        write_durably(self._layout.endpoint, json.dumps(asdict(endpoints), indent=2).encode() + b"\n", mode=0o600)

    def withdraw(self) -> None:
        """Takes the announcement back."""
        Path(self._layout.endpoint).unlink(missing_ok=True)


def _lock(descriptor: int) -> bool:
    """Whether the lock could be had. Who only looks whether it is held (below) holds it for an instant."""
    for _ in range(10):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.05)
        else:
            return True
    return False


def _claimed(layout: Layout) -> bool:
    """Whether a living process holds the directory."""
    try:
        descriptor = os.open(layout.lock, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)

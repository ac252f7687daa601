"""The one directory that holds all an agent must not forget, and the lock that keeps a second agent out of it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from agent.durable_file import storage_error
from agent.errors import BusyError

# A `status` command takes the lock for an instant, and an agent that is being restarted holds it a little longer.
_LOCK_PATIENCE_S = 2.0


class StateDirectory:
    """Paths inside the state directory.

    ::

        identity/   key.pem cert.pem ca.pem identity.json    written when joining, and by a renewal that was accepted
                    next-key.pem renewed.json                a renewal under way
        trust/      root.json …                              what releases are proved with
        state.db                                             jobs, and what waits for the orchestrator
        updates.db                                           the updater's journal
        stage/      <sha256> <sha256>.part                   artifacts, whole and on their way
        slots/      <sha256 of a manifest>/                  installed releases
        current  -> slots/…                                  the release that is served
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.identity = root / "identity"
        self.key = self.identity / "key.pem"
        self.certificate = self.identity / "cert.pem"
        self.authority = self.identity / "ca.pem"
        self.identity_record = self.identity / "identity.json"
        self.next_key = self.identity / "next-key.pem"
        self.renewed = self.identity / "renewed.json"
        self.trust = root / "trust"
        self.trust_root = self.trust / "root.json"
        self.database = root / "state.db"
        self.stage = root / "stage"
        self.status = root / "status.json"
        self._lock = root / "agent.lock"

    def create(self) -> None:
        """Makes the directory and its parts. Others may pass through it to the release that is served; no more.

        Raises:
            ConfigurationError: It cannot be made or written.
            NoSpaceError: The disk is full.
        """
        try:
            self.root.mkdir(mode=0o711, parents=True, exist_ok=True)
            for directory in (self.identity, self.trust, self.stage):
                directory.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise storage_error(error, Path(error.filename or self.root)) from error

    @contextlib.contextmanager
    def hold(self, *, patience_s: float = _LOCK_PATIENCE_S) -> Iterator[None]:
        """Keeps every other agent out of this directory until the block ends, or the process does.

        Raises:
            BusyError: Another agent holds it.
            ConfigurationError: The directory cannot be written.
        """
        self.create()
        try:
            descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise storage_error(error, self._lock) from error
        try:
            deadline = time.monotonic() + patience_s
            while not _try_lock(descriptor, fcntl.LOCK_EX):
                if time.monotonic() >= deadline:
                    raise BusyError(
                        f"another agent{self._holder()} uses {self.root}",
                        hint="stop it first, or give this one a directory of its own with --state-dir",
                    )
                time.sleep(0.05)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, str(os.getpid()).encode(), 0)
            yield
        finally:
            os.close(descriptor)

    def held(self) -> bool:
        """Whether an agent holds this directory now."""
        try:
            descriptor = os.open(self._lock, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            return not _try_lock(descriptor, fcntl.LOCK_SH)
        finally:
            os.close(descriptor)

    def _holder(self) -> str:
        try:
            process_id = self._lock.read_text().strip()
        except OSError:
            return ""
        return f" (process {process_id})" if process_id.isdigit() else ""


def _try_lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

"""Training gives way to measuring on the same host, through two lock files that every fleetfit process there knows.

A latency that was taken beside a training is worth nothing. So whoever loads the machine holds the *shared* side of a
lock, and an agent that measures holds its *exclusive* side (``agent/profiling/exclusion.py`` speaks the same protocol):

========== =====================================================================================
shared     lock ``turnstile`` exclusively, then ``lock`` shared, then let go of ``turnstile``
exclusive  lock ``turnstile`` exclusively, then ``lock`` exclusively, and keep both until done
========== =====================================================================================

Whoever waits for the exclusive side holds the turnstile, so nobody new gets in, and those who are in see that it is
taken and step aside between two batches. The kernel releases both when a process dies, however it dies.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

DIRECTORY_VARIABLE = "FLEETFIT_HOST_LOCK_DIR"
_SYSTEM_DIRECTORY = Path("/run/lock/fleetfit")


def host_lock_directory() -> Path:
    """The directory that all fleetfit processes of this host agree on, made where it was missing."""
    named = os.environ.get(DIRECTORY_VARIABLE)
    if named:
        directory = Path(named)
        directory.mkdir(parents=True, exist_ok=True)
        return directory
    if _usable(_SYSTEM_DIRECTORY):
        return _SYSTEM_DIRECTORY
    directory = Path(tempfile.gettempdir()) / f"fleetfit-host-lock-{os.getuid()}"
    directory.mkdir(parents=True, exist_ok=True)
    return directory


class SharedHost:
    """The shared side for as long as the context lasts, except while someone measures.

    Args:
        directory: Where the two lock files are.
        on_wait: Called with one line for people when there is somebody to wait for.
    """

    def __init__(self, directory: Path, *, on_wait: Callable[[str], None]) -> None:
        self._on_wait = on_wait
        self._turnstile = _open(directory / "turnstile")
        self._lock = _open(directory / "lock")

    def __enter__(self) -> SharedHost:
        self._take()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        os.close(self._lock)
        os.close(self._turnstile)

    def give_way(self) -> None:
        """Steps aside if someone waits to measure, and comes back after that. Costs two system calls otherwise."""
        if _try_exclusive(self._turnstile):
            fcntl.flock(self._turnstile, fcntl.LOCK_UN)
            return
        fcntl.flock(self._lock, fcntl.LOCK_UN)
        self._take()

    def _take(self) -> None:
        if not _try_exclusive(self._turnstile):
            self._on_wait("waiting for a measurement on this host")
            fcntl.flock(self._turnstile, fcntl.LOCK_EX)
        fcntl.flock(self._lock, fcntl.LOCK_SH)
        fcntl.flock(self._turnstile, fcntl.LOCK_UN)


def _try_exclusive(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _open(path: Path) -> int:
    """The lock file, open for reading only: enough for a lock, and allowed on a file that another user made."""
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        pass
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    # The umask took from the mode what other users need.
    os.fchmod(descriptor, 0o666)
    return descriptor


def _usable(directory: Path) -> bool:
    """Whether lock files can be had there; makes the directory, open to every user, where that is allowed."""
    try:
        directory.mkdir(mode=0o777)
        directory.chmod(0o1777)
    except FileExistsError:
        pass
    except OSError:
        return False
    return directory.is_dir() and os.access(directory, os.R_OK | os.W_OK | os.X_OK)

"""Measuring and training on one machine exclude each other: the exclusive side.

Agreed with whoever trains here, who takes the shared side: a directory with two files that are locked with ``flock``.

- exclusive: lock ``turnstile`` exclusively, then ``lock`` exclusively; release both when done.
- shared: lock ``turnstile`` exclusively, then ``lock`` shared; release ``turnstile`` at once.

Whoever waits for the exclusive lock holds the turnstile meanwhile, so that a stream of newcomers cannot starve it. The
kernel releases the locks of a process that dies.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from agent.errors import ConfigurationError

DIRECTORY_VARIABLE = "FLEETFIT_HOST_LOCK_DIR"
_SYSTEM_DIRECTORY = Path("/run/lock/fleetfit")
_TURNSTILE, _LOCK = "turnstile", "lock"
_RETRY_S = 0.05


class HostLock:
    """The machine, for one measurement at a time.

    Args:
        directory: Where the two files are; by default the directory that all of fleetfit on this machine agrees on.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self._directory = directory

    @asynccontextmanager
    async def exclusive(self, *, on_wait: Callable[[], None]) -> AsyncIterator[None]:
        """Holds the machine; waiting blocks nothing else and may be cancelled.

        Args:
            on_wait: Called once if the machine cannot be had at once.

        Raises:
            ConfigurationError: The directory cannot be used.
        """
        directory = self._directory or shared_directory()
        turnstile = _open(directory, _TURNSTILE)
        try:
            lock = _open(directory, _LOCK)
            try:
                if not (_try_lock(turnstile) and _try_lock(lock)):
                    on_wait()
                    await _lock(turnstile)
                    await _lock(lock)
                yield
            finally:
                # Closing releases: nobody else has these descriptors.
                os.close(lock)
        finally:
            os.close(turnstile)


def shared_directory() -> Path:
    """The directory that measuring and training on this machine agree on; it need not be there yet."""
    named = os.environ.get(DIRECTORY_VARIABLE)
    if named:
        return Path(named)
    with suppress(OSError):
        _SYSTEM_DIRECTORY.mkdir()
        # Open to every user, as /tmp is.
        _SYSTEM_DIRECTORY.chmod(0o1777)
    if os.access(_SYSTEM_DIRECTORY, os.R_OK | os.W_OK | os.X_OK):
        return _SYSTEM_DIRECTORY
    return Path(tempfile.gettempdir()) / f"fleetfit-host-lock-{os.getuid()}"


def _open(directory: Path, name: str) -> int:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        return _open_or_make(directory / name)
    except OSError as error:
        raise ConfigurationError(
            f"the lock directory {directory} cannot be used: {error.strerror}",
            hint=f"make it writable, or set {DIRECTORY_VARIABLE}",
        ) from error


def _open_or_make(path: Path) -> int:
    """The lock file, open for reading only: enough for a lock, and allowed whoever made the file."""
    reading = os.O_RDONLY | os.O_NOFOLLOW
    # Without O_CREAT where it is there: in a directory like /tmp the kernel refuses that for a file of another user.
    with suppress(FileNotFoundError):
        return os.open(path, reading)
    try:
        descriptor = os.open(path, reading | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        return os.open(path, reading)
    # Whatever the umask took away: other users of this machine take the same lock.
    os.fchmod(descriptor, 0o666)
    return descriptor


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


async def _lock(descriptor: int) -> None:
    # Asked again and again rather than waited for in a thread, which could not be called back.
    while not _try_lock(descriptor):
        await asyncio.sleep(_RETRY_S)

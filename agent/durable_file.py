"""Files that survive a power cut: either the old content or the new one, never half of it."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

from agent.errors import AgentError, ConfigurationError, NoSpaceError

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


def write_durably(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Replaces the file at ``path``; when this returns, ``data`` is on the disk under that name.

    Written to a temporary file in the same directory, synced, renamed, and the directory synced: a rename without the
    syncs leaves an empty file behind a power cut.

    Raises:
        NoSpaceError: The disk is full; the old file is untouched.
        ConfigurationError: The directory cannot be written.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            with open(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        sync_directory(path.parent)
    except OSError as error:
        raise storage_error(error, path) from error


def sync_directory(path: Path) -> None:
    """Returns when the directory's entries are on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def storage_error(error: OSError, path: Path) -> AgentError:
    """What to tell the user when ``path`` could not be written or read."""
    said = error.strerror or str(error)
    if error.errno in _FULL:
        return NoSpaceError(f"{path}: {said}", hint="free some space on the disk that holds the state directory")
    return ConfigurationError(f"{path}: {said}", hint="check the state directory (--state-dir) and who owns it")

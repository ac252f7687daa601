"""Files that are either there, whole, or not there: also after a crash or a loss of power."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from orchestrator.errors import OperationError


def write_durably(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Puts ``data`` at ``path`` in one step; a reader sees the old content or the new one, never a part.

    Raises:
        OperationError: The file system is full, read-only, or does not let us.
    """
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(file.fileno(), mode)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        sync_directory(path.parent)
    except OSError as error:
        raise OperationError(
            f"cannot write {path}: {error.strerror}", hint="free some space, or choose another --data-dir"
        ) from error


def sync_directory(directory: Path) -> None:
    """Makes the names in the directory survive a loss of power."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

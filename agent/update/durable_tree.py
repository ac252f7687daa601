"""Copies, folders and links that are either there, whole, or not there: also after a crash or a loss of power.

The order is the same everywhere: make it beside its place, fsync, rename, fsync the directory. What a crash leaves
behind has a fixed name, so the next attempt replaces it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from agent.durable_file import storage_error, sync_directory

_CHUNK_BYTES = 1 << 20


def copy_durably(source: Path, path: Path, *, mode: int) -> None:
    """Puts a copy of ``source`` at ``path`` in one step; a reader sees the old content or the new one, never a part.

    Raises:
        NoSpaceError: The disk is full.
        ConfigurationError: One cannot be read, or the other not be written.
    """
    with _explained(path):
        temporary = _beside(path)
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with source.open("rb") as original, open(descriptor, "wb") as copy:
                while chunk := original.read(_CHUNK_BYTES):
                    copy.write(chunk)
                copy.flush()
                os.fchmod(copy.fileno(), mode)
                os.fsync(copy.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_directory(path.parent)


def make_directory(path: Path) -> None:
    """Makes the directory, and what is missing above it, where it is not there yet.

    Raises:
        NoSpaceError: The disk is full.
        ConfigurationError: The file system is read-only, or does not let us.
    """
    if path.is_dir():
        return
    make_directory(path.parent)
    with _explained(path):
        path.mkdir(exist_ok=True, mode=0o755)
        sync_directory(path.parent)


def point_link(link: Path, target: str) -> None:
    """Makes ``link`` a symbolic link to ``target`` in one step; at no moment is there no link.

    Raises:
        NoSpaceError: The disk is full.
        ConfigurationError: The file system is read-only, or has no symbolic links.
    """
    with _explained(link):
        temporary = _beside(link)
        temporary.symlink_to(target)
        temporary.replace(link)
        sync_directory(link.parent)


def remove_link(link: Path) -> None:
    """Removes ``link`` where it is there.

    Raises:
        ConfigurationError: The file system is read-only, or does not let us.
    """
    with _explained(link):
        link.unlink(missing_ok=True)
        sync_directory(link.parent)


def digest(path: Path) -> tuple[int, str]:
    """Size in bytes and SHA-256 of what the disk, not the page cache, gives back.

    Raises:
        ConfigurationError: It cannot be read.
    """
    hasher, size_bytes = hashlib.sha256(), 0
    with _explained(path), path.open("rb") as file:
        if hasattr(os, "posix_fadvise"):
            # What was just written is still in memory, where it is right even if the disk is not.
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        while chunk := file.read(_CHUNK_BYTES):
            hasher.update(chunk)
            size_bytes += len(chunk)
    return size_bytes, hasher.hexdigest()


def _beside(path: Path) -> Path:
    """A free name in the same directory."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.unlink(missing_ok=True)
    return temporary


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turns what the operating system says into what a user can act on."""
    try:
        yield
    except OSError as error:
        raise storage_error(error, path) from error

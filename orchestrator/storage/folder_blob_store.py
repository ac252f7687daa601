"""Blobs in a folder of this machine."""

from __future__ import annotations

import errno
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from orchestrator.errors import OperationError
from orchestrator.storage.blob_store import BlobStore

# What a killed process left half-written is removed at the next start, once nobody can be writing it any more.
_ABANDONED_AFTER_S = 24 * 3600


class FolderBlobStore(BlobStore):
    """Blobs as files, ``ab/abcd…``. A blob is written beside its place and then renamed into it.

    Args:
        folder: Where the blobs are kept; made where it does not exist.

    Raises:
        OperationError: The folder cannot be made or written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()
        self._incoming = self._folder / "incoming"
        try:
            self._incoming.mkdir(parents=True, exist_ok=True)
            _sync_folder(self._folder)
            _sync_folder(self._folder.parent)
            self._remove_abandoned()
        except OSError as error:
            raise _failure(error, "open", self._folder) from error

    @property
    def place(self) -> str:
        """The folder."""
        return str(self._folder)

    def _write(self, sha256: str, data: bytes) -> None:
        path = self._path(sha256)
        try:
            if self._holds(path, data):
                # Another writer may have renamed it just now, and not yet made that durable.
                _sync_file(path)
            else:
                path.parent.mkdir(exist_ok=True)
                self._write_aside(path, data)
            _sync_folder(path.parent)
            _sync_folder(self._folder)
        except OSError as error:
            raise _failure(error, f"store {len(data)} bytes as", path) from error

    def _holds(self, path: Path, data: bytes) -> bool:
        try:
            return path.stat().st_size == len(data) and path.read_bytes() == data
        except FileNotFoundError:
            return False

    def _write_aside(self, path: Path, data: bytes) -> None:
        descriptor, aside = tempfile.mkstemp(dir=self._incoming)
        try:
            with os.fdopen(descriptor, "wb", buffering=0) as file:
                rest = memoryview(data)
                while rest:
                    rest = rest[os.write(file.fileno(), rest) :]
                os.fsync(file.fileno())
            Path(aside).replace(path)
        except BaseException:
            with suppress(FileNotFoundError):
                Path(aside).unlink()
            raise

    def _size(self, sha256: str) -> int | None:
        path = self._path(sha256)
        try:
            return path.stat().st_size
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _failure(error, "look at", path) from error

    def _stream(self, sha256: str, offset: int, chunk_bytes: int) -> Iterator[bytes]:
        path = self._path(sha256)
        try:
            with path.open("rb", buffering=0) as file:
                file.seek(offset)
                while chunk := file.read(chunk_bytes):
                    yield chunk
        except FileNotFoundError as error:
            raise self._missing(sha256) from error
        except OSError as error:
            raise _failure(error, "read", path) from error

    def _delete(self, sha256: str) -> None:
        path = self._path(sha256)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise _failure(error, "delete", path) from error

    def _names(self) -> Iterator[str]:
        try:
            for folder in self._folder.iterdir():
                if folder != self._incoming and folder.is_dir():
                    yield from (path.name for path in folder.iterdir())
        except OSError as error:
            raise _failure(error, "list", self._folder) from error

    def _path(self, sha256: str) -> Path:
        # Two characters deep, because some file systems are slow with a hundred thousand files in one folder.
        return self._folder / sha256[:2] / sha256

    def _remove_abandoned(self) -> None:
        for path in self._incoming.iterdir():
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < time.time() - _ABANDONED_AFTER_S:
                    path.unlink()


def _sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# A rename is durable when the folder that holds the new name is.
_sync_folder = _sync_file


def _failure(error: OSError, verb: str, path: Path) -> OperationError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        hint = "free some space there, or name another folder"
        return OperationError(f"no space left to {verb} {path}", hint=hint, reason="DISK_FULL")
    return OperationError(f"cannot {verb} {path}: {error.strerror}", hint="check that the disk is there and writable")

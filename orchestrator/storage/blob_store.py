"""Where bytes are kept under their own hash: artifacts, checkpoints, golden inputs, workloads."""

from __future__ import annotations

import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator

from orchestrator.errors import InvalidInputError, NotFoundError, OperationError

CHUNK_BYTES = 256 * 1024

_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)


class BlobStore(ABC):
    """Bytes by their SHA-256, in lower-case hexadecimal. Safe to use from several threads and processes at once.

    A blob never changes. It is either there as a whole or not there; once ``put`` has returned, it survives the loss
    of power. An implementation fills in the methods with an underscore; they are given names that were checked.
    """

    def put(self, data: bytes) -> str:
        """Stores the bytes. Storing them again changes nothing, or repairs what was damaged.

        Returns:
            Their name.

        Raises:
            OperationError: They could not be stored, and nothing of them is left behind; with reason ``DISK_FULL``
                where space ran out.
            UnavailableError: The store cannot be reached.
        """
        name = hashlib.sha256(data).hexdigest()
        self._write(name, data)
        return name

    def has(self, sha256: str) -> bool:
        """Whether the blob is there.

        Raises:
            InvalidInputError: The name is no SHA-256.
            UnavailableError: The store cannot be reached.
        """
        return self._size(_checked(sha256)) is not None

    def size(self, sha256: str) -> int:
        """How many bytes the blob has.

        Raises:
            InvalidInputError: The name is no SHA-256.
            NotFoundError: There is no such blob.
            UnavailableError: The store cannot be reached.
        """
        size_bytes = self._size(_checked(sha256))
        if size_bytes is None:
            raise self._missing(sha256)
        return size_bytes

    def read(self, sha256: str) -> bytes:
        """The blob's bytes, which are those that its name promises.

        Raises:
            InvalidInputError: The name is no SHA-256.
            NotFoundError: There is no such blob.
            OperationError: The bytes are damaged (reason ``BLOB_DAMAGED``).
            UnavailableError: The store cannot be reached.
        """
        data = b"".join(self.stream(sha256, chunk_bytes=16 * 1024 * 1024))
        if hashlib.sha256(data).hexdigest() != sha256:
            raise OperationError(
                f"blob {sha256} in {self.place} is damaged: its {len(data)} bytes have another hash",
                hint="delete it and make it again",
                reason="BLOB_DAMAGED",
            )
        return data

    def stream(self, sha256: str, *, offset: int = 0, chunk_bytes: int = CHUNK_BYTES) -> Iterator[bytes]:
        """The blob's bytes from ``offset`` on, in pieces of at most ``chunk_bytes``; none of them is empty.

        They are not compared with the name: whoever receives them does that.

        Raises:
            InvalidInputError: The name is no SHA-256, or the offset lies outside the blob.
            NotFoundError: There is no such blob.
            UnavailableError: The store cannot be reached.
        """
        size_bytes = self.size(sha256)
        if not 0 <= offset <= size_bytes:
            raise InvalidInputError(f"offset {offset} lies outside blob {sha256}, which has {size_bytes} bytes")
        return iter(()) if offset == size_bytes else self._stream(sha256, offset, chunk_bytes)

    def delete(self, sha256: str) -> None:
        """Removes the blob, where it is there.

        Raises:
            InvalidInputError: The name is no SHA-256.
            OperationError: It could not be removed.
            UnavailableError: The store cannot be reached.
        """
        self._delete(_checked(sha256))

    def list(self) -> Iterator[str]:
        """The names of all blobs, in no order. Blobs that come or go meanwhile may be missed.

        Raises:
            UnavailableError: The store cannot be reached.
        """
        return (name for name in self._names() if _SHA256.fullmatch(name))

    @property
    @abstractmethod
    def place(self) -> str:
        """Where the blobs are, for people."""

    @abstractmethod
    def _write(self, sha256: str, data: bytes) -> None:
        """Makes the blob be there, durably, or raises and leaves nothing."""

    @abstractmethod
    def _size(self, sha256: str) -> int | None:
        """The blob's size; None where there is none."""

    @abstractmethod
    def _stream(self, sha256: str, offset: int, chunk_bytes: int) -> Iterator[bytes]:
        """The bytes from an offset that lies inside the blob."""

    @abstractmethod
    def _delete(self, sha256: str) -> None:
        """Removes the blob; one that is not there is no error."""

    @abstractmethod
    def _names(self) -> Iterator[str]:
        """The last part of every name in the store, blob or not."""

    def _missing(self, sha256: str) -> NotFoundError:
        return NotFoundError(f"there is no blob {sha256} in {self.place}")


def _checked(sha256: str) -> str:
    """The name itself: only a hash may become part of a path."""
    if _SHA256.fullmatch(sha256) is None:
        raise InvalidInputError(f"'{sha256[:80]}' is not a SHA-256 in lower-case hexadecimal")
    return sha256

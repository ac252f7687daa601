"""Blobs in an object store: S3 and what speaks its language, or memory in tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import MemoryStore, ObjectStore, S3Store

from orchestrator.errors import FleetfitError, InvalidInputError, OperationError, UnavailableError
from orchestrator.storage.blob_store import BlobStore

if TYPE_CHECKING:
    from obstore.store import RetryConfig

_RETRIES: RetryConfig = {"max_retries": 4, "retry_timeout": timedelta(seconds=30)}


class ObjectBlobStore(BlobStore):
    """Blobs as objects, ``ab/abcd…`` below a prefix.

    Args:
        store: The object store, already at its prefix.
        place: Its address, for people.
    """

    def __init__(self, store: ObjectStore, place: str) -> None:
        self._store = store
        self._place = place

    @classmethod
    def open(cls, url: str) -> ObjectBlobStore:
        """The store at ``url``; it was reached once.

        Credentials, region and endpoint come from the environment, by the names that AWS's own tools use
        (``AWS_ACCESS_KEY_ID``, ``AWS_REGION``, ``AWS_ENDPOINT_URL`` …).

        Args:
            url: ``s3://bucket/prefix``, or ``memory://`` for a store that ends with the process.

        Raises:
            InvalidInputError: The address cannot be understood.
            OperationError: It does not let us in.
            UnavailableError: It cannot be reached.
        """
        try:
            store = MemoryStore() if url.startswith("memory:") else S3Store.from_url(url, retry_config=_RETRIES)
        except (BaseError, ValueError) as error:
            message = f"'{url}' is not the address of a blob store: {_first_line(error)}"
            raise InvalidInputError(message, hint="for example s3://bucket/prefix") from error
        opened = cls(store, url)
        with opened._errors():
            next(iter(obstore.list(store, chunk_size=1)), None)
        return opened

    @property
    def place(self) -> str:
        """The address."""
        return self._place

    def _write(self, sha256: str, data: bytes) -> None:
        with self._errors():
            # A put replaces the whole object or nothing, so doing it again is harmless, and repairs what was damaged.
            obstore.put(self._store, _key(sha256), data)

    def _size(self, sha256: str) -> int | None:
        with self._errors():
            try:
                return obstore.head(self._store, _key(sha256))["size"]
            except FileNotFoundError:
                return None

    def _stream(self, sha256: str, offset: int, chunk_bytes: int) -> Iterator[bytes]:
        with self._errors():
            try:
                answer = obstore.get(self._store, _key(sha256), options={"range": {"offset": offset}})
            except FileNotFoundError as error:
                raise self._missing(sha256) from error
            for part in answer.stream(min_chunk_size=chunk_bytes):
                view = memoryview(part)
                for start in range(0, len(view), chunk_bytes):
                    yield bytes(view[start : start + chunk_bytes])

    def _delete(self, sha256: str) -> None:
        with self._errors():
            try:
                obstore.delete(self._store, _key(sha256))
            except FileNotFoundError:
                return

    def _names(self) -> Iterator[str]:
        with self._errors():
            for page in obstore.list(self._store):
                yield from (entry["path"].rpartition("/")[2] for entry in page)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (BaseError, OSError) as error:
            raise self._failure(error) from error

    def _failure(self, error: Exception) -> FleetfitError:
        why = _first_line(error)
        if isinstance(error, PermissionDeniedError | UnauthenticatedError):
            hint = "check the credentials in the environment"
            return OperationError(f"the blob store {self._place} does not let fleetfit in: {why}", hint=hint)
        hint = "check the address, the region and the network"
        return UnavailableError(f"the blob store {self._place} cannot be reached: {why}", hint=hint)


def _key(sha256: str) -> str:
    return f"{sha256[:2]}/{sha256}"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]

"""Blobs on a stream: read in a thread, piece by piece, never as a whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

from orchestrator.storage.blob_store import BlobStore


async def artifact_chunks(blobs: BlobStore, sha256: str, *, offset: int = 0) -> AsyncIterator[bytes]:
    """Yields the blob's bytes from ``offset`` on.

    Raises:
        InvalidInputError: The name is no SHA-256, or the offset lies outside the blob.
        NotFoundError: There is no such blob.
        UnavailableError: The store cannot be reached.
    """
    pieces: Iterator[bytes] = await asyncio.to_thread(blobs.stream, sha256, offset=offset)
    while piece := await asyncio.to_thread(next, pieces, b""):
        yield piece

"""The service that hands bytes to devices: artifacts by hash, and files of the release repository."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
from fleetfit.v1 import delivery_pb2, delivery_pb2_grpc

from orchestrator.api.artifact_chunks import artifact_chunks
from orchestrator.api.caller import calling_device
from orchestrator.errors import UnavailableError
from orchestrator.releases.publisher import Publisher
from orchestrator.storage.blob_store import BlobStore

_DOWNLOADS_AT_ONCE = 4


class DeliveryService(delivery_pb2_grpc.DeliveryServiceServicer):
    """Bytes for devices.

    A device may fetch any artifact whose hash it knows: it learns hashes only from its jobs and from manifests.
    """

    def __init__(self, *, blobs: BlobStore, publisher: Publisher) -> None:
        self._blobs = blobs
        self._publisher = publisher
        self._downloads: Counter[str] = Counter()

    async def FetchArtifact(
        self, request: delivery_pb2.FetchArtifactRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[delivery_pb2.FetchArtifactResponse]:
        """The artifact from an offset on; the first message also says how large the whole is."""
        with self._download(calling_device().device_id):
            size_bytes = await asyncio.to_thread(self._blobs.size, request.sha256)
            yield delivery_pb2.FetchArtifactResponse(size_bytes=size_bytes)
            async for piece in artifact_chunks(self._blobs, request.sha256, offset=request.offset):
                yield delivery_pb2.FetchArtifactResponse(data=piece)

    async def FetchRepositoryFile(
        self, request: delivery_pb2.FetchRepositoryFileRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> delivery_pb2.FetchRepositoryFileResponse:
        """One file of the release repository."""
        data = await self._publisher.repository_file(request.path)
        return delivery_pb2.FetchRepositoryFileResponse(data=data)

    @contextmanager
    def _download(self, device_id: str) -> Iterator[None]:
        if self._downloads[device_id] >= _DOWNLOADS_AT_ONCE:
            raise UnavailableError(
                f"this device has {_DOWNLOADS_AT_ONCE} downloads already", hint="end one first", reason="RATE_LIMITED"
            )
        self._downloads[device_id] += 1
        try:
            yield
        finally:
            self._downloads[device_id] -= 1
            if not self._downloads[device_id]:
                del self._downloads[device_id]

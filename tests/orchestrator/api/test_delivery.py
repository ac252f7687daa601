"""Bytes for devices, over real sockets."""

import asyncio
import hashlib

import grpc
import pytest
from fleetfit.v1 import delivery_pb2

from tests.fakes.scripted_device import ScriptedDevice, reason_of
from tests.orchestrator.api.conftest import LiveServer


async def _fetch(device: ScriptedDevice, sha256: str, offset: int = 0) -> list[delivery_pb2.FetchArtifactResponse]:
    async with device.delivery() as stub:
        request = delivery_pb2.FetchArtifactRequest(sha256=sha256, offset=offset)
        return [message async for message in stub.FetchArtifact(request)]


def test_an_artifact_arrives_in_pieces_that_are_small(server: LiveServer) -> None:
    data = bytes(range(256)) * 4000

    async def scenario() -> None:
        device = await server.join()
        sha256 = server.orchestrator.blobs.put(data)
        messages = await _fetch(device, sha256)
        assert messages[0].size_bytes == len(data)
        assert all(message.size_bytes == 0 for message in messages[1:])
        assert max(len(message.data) for message in messages) == 256 * 1024
        assert hashlib.sha256(b"".join(message.data for message in messages)).hexdigest() == sha256

    server.run(scenario())


@pytest.mark.parametrize("offset", [0, 1, 262_144, 299_999, 300_000])
def test_a_download_goes_on_at_any_offset(server: LiveServer, offset: int) -> None:
    data = bytes(range(250)) * 1200

    async def scenario() -> None:
        device = await server.join()
        messages = await _fetch(device, server.orchestrator.blobs.put(data), offset)
        assert messages[0].size_bytes == len(data)
        assert b"".join(message.data for message in messages) == data[offset:]

    server.run(scenario())


@pytest.mark.parametrize(
    ("sha256", "offset", "code"),
    [
        ("00" * 32, 0, grpc.StatusCode.NOT_FOUND),
        ("../../operator-token", 0, grpc.StatusCode.INVALID_ARGUMENT),
        ("", 0, grpc.StatusCode.INVALID_ARGUMENT),
        (hashlib.sha256(b"here").hexdigest(), 5, grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
def test_what_cannot_be_fetched_is_said_clearly(
    server: LiveServer, sha256: str, offset: int, code: grpc.StatusCode
) -> None:
    async def scenario() -> None:
        device = await server.join()
        server.orchestrator.blobs.put(b"here")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await _fetch(device, sha256, offset)
        assert caught.value.code() is code

    server.run(scenario())


def test_a_device_has_a_few_downloads_at_once_and_no_more(server: LiveServer) -> None:
    async def scenario() -> None:
        device = await server.join()
        # Larger than what fits into the connection unread, so that each download stays open.
        sha256 = server.orchestrator.blobs.put(b"x" * 40_000_000)
        async with device.delivery() as stub:
            request = delivery_pb2.FetchArtifactRequest(sha256=sha256)
            calls = [stub.FetchArtifact(request) for _ in range(4)]
            for call in calls:
                await call.read()
            fifth = stub.FetchArtifact(request)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await fifth.read()
            assert reason_of(caught.value) == "RATE_LIMITED"
            for call in calls:
                call.cancel()

            async def again() -> bool:
                try:
                    await stub.FetchArtifact(request).read()
                except grpc.aio.AioRpcError:
                    await asyncio.sleep(0.1)
                    return False
                return True

            await server.soon(again)

    server.run(scenario())


def test_the_files_of_the_release_repository_are_handed_out_and_nothing_else(server: LiveServer) -> None:
    async def scenario() -> None:
        device = await server.join()
        async with device.delivery() as stub:

            async def fetch(path: str) -> bytes:
                request = delivery_pb2.FetchRepositoryFileRequest(path=path)
                return bytes((await stub.FetchRepositoryFile(request, timeout=20)).data)

            assert b'"root"' in await fetch("metadata/1.root.json")
            assert b'"timestamp"' in await fetch("metadata/timestamp.json")
            for path in (
                "",
                "metadata/2.root.json",
                "../operator-token",
                "metadata/../../operator-token",
                "/etc/passwd",
            ):
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await fetch(path)
                assert caught.value.code() is grpc.StatusCode.NOT_FOUND

    server.run(scenario())


def test_a_removed_device_fetches_nothing_on_a_connection_that_is_open(server: LiveServer) -> None:
    async def scenario() -> None:
        device = await server.join()
        async with device.delivery() as stub:
            request = delivery_pb2.FetchRepositoryFileRequest(path="metadata/1.root.json")
            await stub.FetchRepositoryFile(request, timeout=20)
            await server.orchestrator.database.run(lambda tx: tx.devices.remove(device.id))
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.FetchRepositoryFile(request, timeout=20)
            assert reason_of(caught.value) == "REENROL"

    server.run(scenario())

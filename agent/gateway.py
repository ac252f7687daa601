"""The orchestrator as an enrolled device reaches it: one stream, and the bytes that it delivers.

A gRPC channel dials again by itself, every second or so and for ever, which would defeat the agent's own backoff. So a
connection lives as long as its stream, and whoever fetches bytes uses the connection of the stream that is open.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import grpc
import grpc.aio
from fleetfit.v1 import (
    delivery_pb2,
    delivery_pb2_grpc,
    enrolment_pb2,
    enrolment_pb2_grpc,
    session_pb2,
    session_pb2_grpc,
)

from agent.address import Address
from agent.channel import call_error, open_channel, unreachable
from agent.concurrency import within
from agent.convert import decode, from_response, to_request
from agent.errors import AgentError, ArtifactRefusedError, RevokedError, UnreachableError
from agent.messages import Incoming, Outgoing
from agent.wallet import Wallet

if TYPE_CHECKING:
    _Call = grpc.aio.StreamStreamCall[session_pb2.ConnectRequest, session_pb2.ConnectResponse]
    _Fetch = grpc.aio.UnaryStreamCall[delivery_pb2.FetchArtifactRequest, delivery_pb2.FetchArtifactResponse]

# A live server sends a chunk every few milliseconds.
_CHUNK_TIMEOUT_S = 60.0
_ANSWER_TIMEOUT_S = 60.0

# Answers to a fetch that will be the same next time.
_ARTIFACT_REFUSED = frozenset({
    grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.OUT_OF_RANGE, grpc.StatusCode.PERMISSION_DENIED,
})  # fmt: skip


class Stream:
    """One open stream, made by ``Gateway.stream``."""

    def __init__(self, call: _Call, address: Address) -> None:
        self._call = call
        self._address = address
        # gRPC allows one write at a time.
        self._writing = asyncio.Lock()

    async def send(self, message: Outgoing) -> None:
        """Hands the message to the connection; only a receipt says that it has arrived.

        Raises:
            RevokedError: The orchestrator does not know this device any more.
            ConfigurationError: It does not speak with this version of the agent.
            UnreachableError: There is no connection any more.
        """
        await self._write(to_request(message))

    async def send_encoded(self, payload: bytes) -> bool:
        """As ``send``, for a message that was kept as bytes; False where they are no message."""
        message = decode(payload)
        if message is None:
            return False
        await self._write(message)
        return True

    async def receive(self) -> Incoming | None:
        """The next message; None for one of a kind that this agent does not know.

        Raises:
            RevokedError: The orchestrator does not know this device any more.
            ConfigurationError: It does not speak with this version of the agent.
            UnreachableError: There is no connection any more, or the orchestrator has ended the stream.
        """
        try:
            message = await self._call.read()
        except grpc.aio.AioRpcError as error:
            raise call_error(error, self._address) from error
        if not isinstance(message, session_pb2.ConnectResponse):
            raise UnreachableError(f"the orchestrator at {self._address} closed the stream")
        return from_response(message)

    async def _write(self, message: session_pb2.ConnectRequest) -> None:
        try:
            async with self._writing:
                await self._call.write(message)
        except grpc.aio.AioRpcError as error:
            raise call_error(error, self._address) from error
        except asyncio.InvalidStateError as error:
            raise await self._ended() from error

    async def _ended(self) -> AgentError:
        """Why the stream ended; a write after the end does not say it, a read does."""
        try:
            await self.receive()
        except AgentError as error:
            return error
        return UnreachableError(f"the orchestrator at {self._address} closed the stream")


class _Connection:
    """A channel that is closed when its last user is done.

    To close it earlier would end the calls of the others with a ``CancelledError``, as if they were to stop.
    """

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel
        self._users = 0

    @contextlib.asynccontextmanager
    async def use(self) -> AsyncIterator[grpc.aio.Channel]:
        self._users += 1
        try:
            yield self._channel
        finally:
            self._users -= 1
            if not self._users:
                await self._channel.close()


class Gateway:
    """The way to the orchestrator; implements ``agent.delivery.Delivery``.

    Args:
        address: Where it listens for devices.
        wallet: What the device and the server prove themselves with.
        patience_s: How long a fetch waits for a stream to be open.
    """

    def __init__(self, *, address: Address, wallet: Wallet, patience_s: float = 60.0) -> None:
        self.address = address
        self._wallet = wallet
        self._patience_s = patience_s
        self._connection: _Connection | None = None
        self._welcomed = asyncio.Event()

    @contextlib.asynccontextmanager
    async def stream(self) -> AsyncIterator[Stream]:
        """A new stream on a new connection. It is dialled by the first ``send``, which also says when that fails."""
        credentials = self._wallet.credentials()
        connection = _Connection(
            open_channel(
                self.address,
                authority=credentials.authority,
                key=credentials.key,
                certificate=credentials.certificate,
            )
        )
        async with connection.use() as channel:
            call = session_pb2_grpc.SessionServiceStub(channel).Connect()
            self._connection = connection
            try:
                yield Stream(call, self.address)
            except RevokedError:
                self._wallet.refused()
                raise
            finally:
                self._connection = None
                self._welcomed.clear()
                call.cancel()

    def welcomed(self) -> None:
        """Opens the stream's connection to fetches: the orchestrator knows this device."""
        self._wallet.accepted()
        self._welcomed.set()

    async def identity_renewed(self) -> None:
        """Returns when the stream that is open shows a certificate for which there is a newer one."""
        await self._wallet.renewed.wait()

    async def renew(self, signing_request: bytes) -> bytes:
        """The certificate for this device's next key, PEM.

        Raises:
            RevokedError: The orchestrator does not know this device any more.
            ConfigurationError: It does not certify this key.
            UnreachableError: The orchestrator went away.
        """
        connection = await self._open_connection()
        async with connection.use() as channel:
            stub = enrolment_pb2_grpc.EnrolmentServiceStub(channel)
            request = enrolment_pb2.RenewRequest(signing_request=signing_request)
            try:
                response = await stub.Renew(request, timeout=_ANSWER_TIMEOUT_S)
            except grpc.aio.AioRpcError as error:
                raise call_error(error, self.address) from error
            return bytes(response.certificate)

    async def fetch_artifact(self, sha256: str, *, offset: int = 0) -> AsyncIterator[bytes]:
        """Yields the artifact's bytes from ``offset`` on.

        Raises:
            UnreachableError: The orchestrator went away; the caller may resume later.
            ArtifactRefusedError: The orchestrator does not have it, or will not give it to this device.
        """
        connection = await self._open_connection()
        async with connection.use() as channel:
            stub = delivery_pb2_grpc.DeliveryServiceStub(channel)
            call = stub.FetchArtifact(delivery_pb2.FetchArtifactRequest(sha256=sha256, offset=offset))
            try:
                while data := await self._next_chunk(call):
                    yield data
            except grpc.aio.AioRpcError as error:
                if error.code() in _ARTIFACT_REFUSED:
                    raise ArtifactRefusedError(
                        f"the orchestrator does not give artifact {sha256}: {error.details()}"
                    ) from error
                raise unreachable(error, self.address) from error
            finally:
                call.cancel()

    async def fetch_repository_file(self, path: str) -> bytes | None:
        """The file of the release repository at ``path``; None where there is none.

        Raises:
            UnreachableError: The orchestrator went away.
        """
        connection = await self._open_connection()
        async with connection.use() as channel:
            stub = delivery_pb2_grpc.DeliveryServiceStub(channel)
            request = delivery_pb2.FetchRepositoryFileRequest(path=path)
            try:
                response = await stub.FetchRepositoryFile(request, timeout=_ANSWER_TIMEOUT_S)
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.NOT_FOUND:
                    return None
                raise unreachable(error, self.address) from error
            return bytes(response.data)

    async def _open_connection(self) -> _Connection:
        try:
            await within(self._welcomed.wait(), timeout_s=self._patience_s)
        except asyncio.TimeoutError as error:
            raise UnreachableError(f"there is no connection to the orchestrator at {self.address}") from error
        if self._connection is None:
            raise UnreachableError(f"the connection to the orchestrator at {self.address} was closed")
        return self._connection

    async def _next_chunk(self, call: _Fetch) -> bytes:
        """The next bytes; none at the end. Messages without bytes do not put off the time limit."""
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + _CHUNK_TIMEOUT_S
        while True:
            try:
                message = await within(_read(call), timeout_s=deadline_s - loop.time())
            except asyncio.TimeoutError as error:
                raise UnreachableError(f"the orchestrator at {self.address} sends no more bytes") from error
            if not isinstance(message, delivery_pb2.FetchArtifactResponse):
                return b""
            if message.data:
                return bytes(message.data)


async def _read(call: _Fetch) -> object:
    return await call.read()

"""A real server on real sockets, with SQLite in a folder of its own, shared by the tests of a file."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Coroutine, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import grpc
import pytest

from orchestrator.app import Orchestrator, running
from orchestrator.clock import utc_now
from orchestrator.config import Config
from orchestrator.fleet.api_token import Role
from orchestrator.fleet.measurement import Measurement, MeasureRequest
from tests.fakes.idle_engine import IdleEngine
from tests.fakes.scripted_device import FACTS, ScriptedDevice, secure_channel

ResultT = TypeVar("ResultT")


@dataclass
class Clock:
    """The present, which a test may move forward."""

    ahead: timedelta = timedelta(0)

    def __call__(self) -> datetime:
        return utc_now() + self.ahead


@dataclass
class LiveServer:
    """The server of a test file, and the loop that it lives in."""

    runner: asyncio.Runner
    config: Config
    orchestrator: Orchestrator
    clock: Clock
    engine: IdleEngine
    authority: bytes
    _tokens: dict[Role, str] = field(default_factory=dict)

    @property
    def address(self) -> str:
        return self.orchestrator.endpoints.public_address

    @property
    def device_address(self) -> str:
        return self.orchestrator.endpoints.device_address

    @property
    def ca_path(self) -> str:
        return self.orchestrator.endpoints.ca_path

    def run(self, scenario: Coroutine[Any, Any, ResultT]) -> ResultT:
        return self.runner.run(scenario)

    def channel(self) -> grpc.aio.Channel:
        """Of a person, who has shown nothing yet."""
        return secure_channel(self.address, self.authority)

    async def as_role(self, role: Role = Role.ADMIN) -> dict[str, Any]:
        """What makes a call one of a person with that role."""
        if role not in self._tokens:
            self._tokens[role] = (await self.orchestrator.operators.create(name=role.value, role=role))[1]
        return {"metadata": (("authorization", f"Bearer {self._tokens[role]}"),), "timeout": 20}

    async def ca_hash(self) -> str:
        from fleetfit.v1 import server_pb2, server_pb2_grpc

        async with self.channel() as channel:
            stub = server_pb2_grpc.ServerServiceStub(channel)
            return str((await stub.GetServerInfo(server_pb2.GetServerInfoRequest(), **await self.as_role())).ca_hash)

    async def join(self, name: str = "", **labels: str) -> ScriptedDevice:
        _, token = await self.orchestrator.join_tokens.create(labels=labels)
        return await ScriptedDevice.join(
            address=self.address, ca_hash=await self.ca_hash(), token=token, name=name, facts=FACTS
        )

    def measure(self, device: ScriptedDevice, *, key: str = "", sha256: str = "") -> asyncio.Task[Measurement]:
        """What a search would ask of the device."""
        request = MeasureRequest(
            artifact_sha256=sha256 or uuid.uuid4().hex * 2, artifact_size_bytes=1000, artifact_format="onnx"
        )
        return asyncio.create_task(
            self.orchestrator.measuring.measure(
                key=key or uuid.uuid4().hex, device_id=device.id, request=request, on_progress=lambda _: None
            )
        )

    async def soon(self, condition: Any) -> Any:
        """Waits until the condition holds; it may be a coroutine function."""
        async with asyncio.timeout(20):
            while True:
                result = condition()
                if isinstance(result, Awaitable):
                    result = await result
                if result:
                    return result
                await asyncio.sleep(0.02)


@contextmanager
def live_server(folder: Path, *, ahead: timedelta = timedelta(0)) -> Iterator[LiveServer]:
    config = Config(data_dir=folder, public_port=0, device_port=0)
    clock, engine = Clock(ahead=ahead), IdleEngine()
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        orchestrator = runner.run(stack.enter_async_context(running(config, engine=engine, clock=clock)))
        try:
            yield LiveServer(
                runner=runner,
                config=config,
                orchestrator=orchestrator,
                clock=clock,
                engine=engine,
                authority=config.layout.ca_certificate.read_bytes(),
            )
        finally:
            runner.run(stack.aclose())
    assert engine.closed


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with live_server(tmp_path_factory.mktemp("orchestrator")) as serving:
        yield serving

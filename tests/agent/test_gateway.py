"""Bytes over the stream's connection: what a fetch meets when streams come and go."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from agent.errors import ArtifactRefusedError, UnreachableError
from agent.gateway import Gateway
from agent.identity import load_identity
from agent.messages import Hello, Welcome
from agent.state_directory import StateDirectory
from agent.wallet import Wallet
from tests.agent.device import FACTS, join_fleet
from tests.fakes.fake_orchestrator import FakeOrchestrator

DATA = b"0123456789" * 30_000


def with_gateway(folder: Path, scenario: Callable[[FakeOrchestrator, Gateway], Awaitable[None]]) -> None:
    async def run() -> None:
        async with FakeOrchestrator() as orchestrator:
            await join_fleet(orchestrator, folder)
            state = StateDirectory(folder)
            gateway = Gateway(address=load_identity(state).device_address, wallet=Wallet(state), patience_s=0.2)
            await scenario(orchestrator, gateway)

    asyncio.run(run())


def test_bytes_come_from_the_offset_on(tmp_path: Path) -> None:
    async def scenario(orchestrator: FakeOrchestrator, gateway: Gateway) -> None:
        sha256 = orchestrator.store(DATA)
        async with gateway.stream() as stream:
            await stream.send(Hello(facts=FACTS, boot_id="b"))
            assert isinstance(await stream.receive(), Welcome)
            gateway.welcomed()
            got = [data async for data in gateway.fetch_artifact(sha256, offset=12_345)]
            assert b"".join(got) == DATA[12_345:]
            assert len(got) > 1

    with_gateway(tmp_path, scenario)


def test_an_artifact_that_the_orchestrator_lacks_is_refused_for_good(tmp_path: Path) -> None:
    async def scenario(orchestrator: FakeOrchestrator, gateway: Gateway) -> None:
        async with gateway.stream():
            gateway.welcomed()
            with pytest.raises(ArtifactRefusedError, match="no such artifact"):
                await anext(gateway.fetch_artifact("0" * 64))

    with_gateway(tmp_path, scenario)


def test_a_repository_file_comes_whole_or_not_at_all(tmp_path: Path) -> None:
    async def scenario(orchestrator: FakeOrchestrator, gateway: Gateway) -> None:
        orchestrator.repository["metadata/1.root.json"] = b"{}" * 1_000_000
        async with gateway.stream():
            gateway.welcomed()
            assert await gateway.fetch_repository_file("metadata/1.root.json") == b"{}" * 1_000_000
            assert await gateway.fetch_repository_file("metadata/2.root.json") is None

    with_gateway(tmp_path, scenario)


def test_without_a_welcome_nothing_is_fetched(tmp_path: Path) -> None:
    async def scenario(orchestrator: FakeOrchestrator, gateway: Gateway) -> None:
        async with gateway.stream():
            with pytest.raises(UnreachableError, match="no connection"):
                await anext(gateway.fetch_artifact(orchestrator.store(DATA)))
        with pytest.raises(UnreachableError, match="no connection"):
            await gateway.fetch_repository_file("metadata/1.root.json")
        assert orchestrator.fetches == []

    with_gateway(tmp_path, scenario)


def test_a_fetch_waits_for_a_stream_that_is_about_to_come(tmp_path: Path) -> None:
    async def scenario(orchestrator: FakeOrchestrator, gateway: Gateway) -> None:
        sha256 = orchestrator.store(DATA)

        async def fetch() -> bytes:
            return b"".join([data async for data in gateway.fetch_artifact(sha256)])

        fetching = asyncio.create_task(fetch())
        await asyncio.sleep(0.02)
        async with gateway.stream():
            gateway.welcomed()
            assert await fetching == DATA

    with_gateway(tmp_path, scenario)


def test_the_end_of_the_stream_does_not_look_like_a_cancellation_to_a_fetch(tmp_path: Path) -> None:
    async def scenario(orchestrator: FakeOrchestrator, gateway: Gateway) -> None:
        sha256 = orchestrator.store(DATA)
        fetch = gateway.fetch_artifact(sha256)
        async with gateway.stream():
            gateway.welcomed()
            got = await anext(fetch)
        async for data in fetch:
            got += data
        assert got == DATA

    with_gateway(tmp_path, scenario)


def test_the_end_of_the_orchestrator_ends_a_fetch_as_a_lost_connection(tmp_path: Path) -> None:
    async def scenario(orchestrator: FakeOrchestrator, gateway: Gateway) -> None:
        sha256 = orchestrator.store(DATA * 100)
        async with gateway.stream():
            gateway.welcomed()
            fetch = gateway.fetch_artifact(sha256)
            await anext(fetch)
            await orchestrator.stop()
            with pytest.raises(UnreachableError):
                async for _ in fetch:
                    pass

    with_gateway(tmp_path, scenario)


def test_a_stream_to_nobody_says_so_with_the_first_word(tmp_path: Path) -> None:
    async def scenario(orchestrator: FakeOrchestrator, gateway: Gateway) -> None:
        await orchestrator.stop()
        async with gateway.stream() as stream:
            with pytest.raises(UnreachableError, match="connection refused"):
                await stream.send(Hello(facts=FACTS, boot_id="b"))

    with_gateway(tmp_path, scenario)


def test_a_word_after_the_end_says_why_it_ended(tmp_path: Path) -> None:
    async def scenario(orchestrator: FakeOrchestrator, gateway: Gateway) -> None:
        async with gateway.stream() as stream:
            await stream.send(Hello(facts=FACTS, boot_id="b"))
            await stream.receive()
            await orchestrator.until(lambda: orchestrator.sessions)
            orchestrator.session.close()
            with pytest.raises(UnreachableError, match="closed the stream"):
                await stream.receive()
            with pytest.raises(UnreachableError, match="closed the stream"):
                await stream.send(Hello(facts=FACTS, boot_id="b"))

    with_gateway(tmp_path, scenario)

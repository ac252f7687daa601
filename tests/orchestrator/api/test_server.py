"""The two ports: what they show, and when they cannot be had."""

import asyncio
import socket
import ssl
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

import agent.channel
from orchestrator.api.server import _OPTIONS, Server, check_ports
from orchestrator.errors import ConflictError, InvalidInputError
from orchestrator.fleet.authority import Authority
from tests.orchestrator.api.conftest import LiveServer, live_server


async def _shown(address: str) -> str:
    host, _, port = address.rpartition(":")
    return await asyncio.to_thread(ssl.get_server_certificate, (host, int(port)))


def test_a_certificate_that_is_due_is_replaced_on_both_ports_while_it_serves(tmp_path: Path) -> None:
    # It began to serve 250 days ago, with a certificate for a year.
    with live_server(tmp_path, ahead=-timedelta(days=250)) as server:

        async def scenario() -> None:
            # The port for devices shows its certificate before it asks for one.
            ports = (server.address, server.device_address)
            before = {await _shown(address) for address in ports}
            assert len(before) == 1
            server.clock.ahead = timedelta(0)
            after = {await _shown(address) for address in ports}
            assert len(after) == 1
            assert after != before
            # Whoever trusts the authority notices nothing.
            device = await server.join()
            async with device.connect() as side:
                assert side.welcome.session_epoch == 1

        server.run(scenario())


def test_the_agent_pings_less_often_than_the_server_minds() -> None:
    assert dict(_OPTIONS)["grpc.http2.min_recv_ping_interval_without_data_ms"] <= agent.channel._KEEPALIVE_MS / 2


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


def test_a_port_that_is_taken_between_the_look_and_the_start_is_named_too(server: LiveServer, taken_port: int) -> None:
    async def scenario() -> ConflictError:
        authority = Authority(server.config.layout.authority, addresses=(), now=server.clock())
        other = Server(authority=authority, interceptors=(), clock=server.clock)
        with pytest.raises(ConflictError) as caught:
            other.bind(host="127.0.0.1", public_port=0, device_port=taken_port)
        await other.stop(0)
        return caught.value

    error = server.run(scenario())
    assert (error.reason, error.hint.endswith("--device-port")) == ("PORT_IN_USE", True)


@pytest.mark.parametrize("host", ["no.such.host.invalid", "203.0.113.77", "x" * 300, "a b"])
def test_a_host_that_is_not_this_machine_is_refused(host: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        asyncio.run(check_ports(host, ((0, "--port"),)))
    assert "--host" in caught.value.hint


def test_free_ports_pass() -> None:
    asyncio.run(check_ports("127.0.0.1", ((0, "--port"), (0, "--device-port"))))
    asyncio.run(check_ports("::1", ((0, "--port"), (0, "--device-port"))))

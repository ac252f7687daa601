"""Devices and join tokens as operators handle them, over real sockets."""

import asyncio
from datetime import timedelta
from typing import Any

import grpc
import pytest
from fleetfit.v1 import (
    devices_pb2,
    devices_pb2_grpc,
    enrolment_pb2,
    join_tokens_pb2,
    join_tokens_pb2_grpc,
    server_pb2,
    server_pb2_grpc,
)

from orchestrator.fleet.api_token import Role
from tests.fakes.scripted_device import enrol, new_key, reason_of
from tests.orchestrator.api.conftest import LiveServer


async def _devices(server: LiveServer, method: str, request: Any, role: Role = Role.OPERATOR) -> Any:
    async with server.channel() as channel:
        stub = devices_pb2_grpc.DeviceServiceStub(channel)
        return await getattr(stub, method)(request, **await server.as_role(role))


async def _tokens(server: LiveServer, method: str, request: Any) -> Any:
    async with server.channel() as channel:
        stub = join_tokens_pb2_grpc.JoinTokenServiceStub(channel)
        return await getattr(stub, method)(request, **await server.as_role(Role.OPERATOR))


async def _error(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


def test_devices_are_listed_by_selector(server: LiveServer) -> None:
    async def scenario() -> None:
        for name, site in (("cam-1", "roof"), ("cam-2", "cellar"), ("gate", "roof")):
            await server.join(name, site=site, suite="listed")

        async def names(selector: str) -> list[str]:
            request = devices_pb2.ListDevicesRequest(selector=selector)
            return [device.name for device in (await _devices(server, "ListDevices", request)).devices]

        assert await names("suite=listed") == ["cam-1", "cam-2", "gate"]
        assert await names("suite=listed,name=cam-*") == ["cam-1", "cam-2"]
        assert await names("site=roof,suite=listed,name=cam-*") == ["cam-1"]
        assert await names("site=moon") == []
        assert {"cam-1", "cam-2", "gate"} <= set(await names(""))
        error = await _error(names("site="))
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT

    server.run(scenario())


def test_a_device_shows_what_it_is_at(server: LiveServer) -> None:
    async def scenario() -> None:
        device = await server.join("busy-one")

        async def shown() -> tuple[bool, str]:
            found = (await _devices(server, "GetDevice", devices_pb2.GetDeviceRequest(device="busy-one"))).device
            return found.online, found.activity

        assert await shown() == (False, "offline")
        async with device.connect() as side:
            assert await shown() == (True, "idle")
            waiting = server.measure(device)
            assignment = await side.assignment()
            assert await shown() == (True, "measuring: starting")
            await side.progress(assignment.job_id, "timing 240 of 400")

            async def timing() -> bool:
                return await shown() == (True, "measuring: timing 240 of 400")

            await server.soon(timing)
            waiting.cancel()

    server.run(scenario())


def test_labels_are_set_and_taken_away(server: LiveServer) -> None:
    async def scenario() -> None:
        device = await server.join("labelled", site="roof", row="1")
        request = devices_pb2.LabelDeviceRequest(device=device.id, set={"row": "2", "shelf": "b"}, remove=["site", "x"])
        for _ in range(2):
            answer = await _devices(server, "LabelDevice", request)
            assert dict(answer.device.labels) == {"row": "2", "shelf": "b"}
        bad = devices_pb2.LabelDeviceRequest(device=device.id, set={"row": "<b>"})
        assert (await _error(_devices(server, "LabelDevice", bad))).code() is grpc.StatusCode.INVALID_ARGUMENT

    server.run(scenario())


def test_a_device_is_removed_once(server: LiveServer) -> None:
    async def scenario() -> None:
        await server.join("leaver")
        request = devices_pb2.RemoveDeviceRequest(device="leaver")
        await _devices(server, "RemoveDevice", request)
        error = await _error(_devices(server, "RemoveDevice", request))
        assert error.code() is grpc.StatusCode.NOT_FOUND
        assert (await server.join("leaver")).name == "leaver"

    server.run(scenario())


def test_a_token_is_made_used_listed_and_revoked(server: LiveServer) -> None:
    async def scenario() -> None:
        made = await _tokens(server, "CreateJoinToken", join_tokens_pb2.CreateJoinTokenRequest(labels={"site": "lab"}))
        life = made.token.expires_at.ToDatetime() - made.token.created_at.ToDatetime()
        assert (life, made.token.maximum_uses, made.token.uses) == (timedelta(minutes=15), 1, 0)
        assert (made.address, made.ca_hash) == (server.address, await server.ca_hash())
        assert made.secret.startswith(f"ff1.{made.token.id}.")
        await enrol(made.address, server.authority, made.secret, key=new_key())
        listed = await _tokens(server, "ListJoinTokens", join_tokens_pb2.ListJoinTokensRequest())
        assert {token.id: token.uses for token in listed.tokens}[made.token.id] == 1
        assert made.secret.rpartition(".")[2] not in str(listed)
        revoked = await _tokens(server, "RevokeJoinToken", join_tokens_pb2.RevokeJoinTokenRequest(id=made.token.id))
        assert revoked.token.revoked

    server.run(scenario())


@pytest.mark.parametrize("options", [{"seconds": 0}, {"seconds": -5}, {"days": 31}])
def test_a_token_that_lives_too_long_or_not_at_all_is_refused(server: LiveServer, options: dict[str, int]) -> None:
    async def scenario() -> None:
        request = join_tokens_pb2.CreateJoinTokenRequest()
        request.time_to_live.FromTimedelta(timedelta(**options))
        assert (await _error(_tokens(server, "CreateJoinToken", request))).code() is grpc.StatusCode.INVALID_ARGUMENT

    server.run(scenario())


def test_secrets_are_in_no_file_of_the_database(server: LiveServer) -> None:
    async def scenario() -> str:
        made = await _tokens(server, "CreateJoinToken", join_tokens_pb2.CreateJoinTokenRequest())
        return str(made.secret.rpartition(".")[2])

    secret = server.run(scenario()).encode()
    operators = server.config.layout.operator_token.read_text().strip().rpartition(".")[2].encode()
    for file in server.config.layout.root.glob("fleetfit.db*"):
        content = file.read_bytes()
        assert secret not in content
        assert operators not in content


def test_the_server_says_what_it_is_and_who_asks(server: LiveServer) -> None:
    async def scenario() -> server_pb2.GetServerInfoResponse:
        async with server.channel() as channel:
            stub = server_pb2_grpc.ServerServiceStub(channel)
            return await stub.GetServerInfo(server_pb2.GetServerInfoRequest(), **await server.as_role(Role.VIEWER))

    info = server.run(scenario())
    assert (info.role, info.public_address, info.device_address) == ("viewer", server.address, server.device_address)
    assert info.version


def test_guesses_without_end_are_held_back_and_a_valid_token_gets_in_later(server: LiveServer) -> None:
    """Last in this file: it uses up what this address may try."""

    async def scenario() -> None:
        async def guess() -> str:
            answer = await asyncio.gather(
                enrol(server.address, server.authority, "ff1.aaaaaaaa." + "b" * 32, key=new_key()),
                return_exceptions=True,
            )
            assert isinstance(answer[0], grpc.aio.AioRpcError)
            return reason_of(answer[0])

        reasons = await asyncio.gather(*(guess() for _ in range(80)))
        assert reasons.count("TOKEN_UNKNOWN") <= 60
        assert reasons.count("RATE_LIMITED") >= 20
        _, secret = await server.orchestrator.join_tokens.create()
        key = new_key()

        async def gets_in() -> bool:
            try:
                answer = await enrol(server.address, server.authority, secret, key=key)
            except grpc.aio.AioRpcError:
                await asyncio.sleep(0.5)
                return False
            return isinstance(answer, enrolment_pb2.EnrolResponse)

        await server.soon(gets_in)

    server.run(scenario())

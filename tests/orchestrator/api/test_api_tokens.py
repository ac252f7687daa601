"""API tokens as administrators handle them, and what each role may do, over real sockets."""

from datetime import timedelta
from typing import Any

import grpc
import pytest
from fleetfit.v1 import (
    api_tokens_pb2,
    api_tokens_pb2_grpc,
    releases_pb2,
    releases_pb2_grpc,
    server_pb2,
    server_pb2_grpc,
)
from google.protobuf.duration_pb2 import Duration

from orchestrator.fleet.api_token import Role
from tests.fakes.scripted_device import reason_of
from tests.orchestrator.api.conftest import LiveServer


async def _tokens(server: LiveServer, method: str, request: Any, role: Role = Role.ADMIN) -> Any:
    async with server.channel() as channel:
        stub = api_tokens_pb2_grpc.ApiTokenServiceStub(channel)
        return await getattr(stub, method)(request, **await server.as_role(role))


async def _role_of(server: LiveServer, secret: str) -> str:
    async with server.channel() as channel:
        stub = server_pb2_grpc.ServerServiceStub(channel)
        metadata = (("authorization", f"Bearer {secret}"),)
        request = server_pb2.GetServerInfoRequest()
        return str((await stub.GetServerInfo(request, metadata=metadata, timeout=20)).role)


async def _refusal(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


@pytest.mark.parametrize("role", Role)
def test_a_token_has_the_role_that_it_was_made_with_until_it_is_revoked(server: LiveServer, role: Role) -> None:
    async def scenario() -> None:
        request = api_tokens_pb2.CreateApiTokenRequest(name=f"for {role.value}", role=role.value)
        made = await _tokens(server, "CreateApiToken", request)
        assert await _role_of(server, made.secret) == role.value
        listed = await _tokens(server, "ListApiTokens", api_tokens_pb2.ListApiTokensRequest())
        assert made.token in listed.tokens
        assert made.secret not in str(listed)
        await _tokens(server, "RevokeApiToken", api_tokens_pb2.RevokeApiTokenRequest(id=made.token.id))
        assert (await _refusal(_role_of(server, made.secret))).code() is grpc.StatusCode.UNAUTHENTICATED

    server.run(scenario())


def test_a_token_ends_with_its_time(server: LiveServer) -> None:
    async def scenario() -> None:
        request = api_tokens_pb2.CreateApiTokenRequest(name="short", role="viewer", time_to_live=Duration(seconds=60))
        made = await _tokens(server, "CreateApiToken", request)
        lasts = made.token.expires_at.ToDatetime() - made.token.created_at.ToDatetime()
        assert lasts == timedelta(seconds=60)

    server.run(scenario())


@pytest.mark.parametrize(
    "request_",
    [
        api_tokens_pb2.CreateApiTokenRequest(name="", role="viewer"),
        api_tokens_pb2.CreateApiTokenRequest(name="two\nlines", role="viewer"),
        api_tokens_pb2.CreateApiTokenRequest(name="x", role="king"),
        api_tokens_pb2.CreateApiTokenRequest(name="x", role="viewer", time_to_live=Duration(seconds=-1)),
    ],
)
def test_what_makes_no_token_is_refused(server: LiveServer, request_: api_tokens_pb2.CreateApiTokenRequest) -> None:
    error = server.run(_refusal(_tokens(server, "CreateApiToken", request_)))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_only_a_signer_signs(server: LiveServer) -> None:
    async def release(role: Role) -> str:
        async with server.channel() as channel:
            stub = releases_pb2_grpc.ReleaseServiceStub(channel)
            request = releases_pb2.CreateReleaseRequest(search="none")
            return reason_of(await _refusal(stub.CreateRelease(request, **await server.as_role(role))))

    assert server.run(release(Role.OPERATOR)) == "PERMISSION_DENIED"
    assert server.run(release(Role.SIGNER)) == "NOT_FOUND"

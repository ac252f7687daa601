"""Who may call what: the table against the descriptors, and each row of it over real sockets."""

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from fleetfit.v1 import (
    api_tokens_pb2,
    audit_pb2,
    delivery_pb2,
    devices_pb2,
    enrolment_pb2,
    join_tokens_pb2,
    releases_pb2,
    rollouts_pb2,
    searches_pb2,
    server_pb2,
    session_pb2,
)
from google.protobuf.descriptor import FileDescriptor, MethodDescriptor
from google.protobuf.message_factory import GetMessageClass

from orchestrator.api.access import ACCESS, Access, authorise
from orchestrator.api.caller import Anonymous, DeviceCaller, OperatorCaller
from orchestrator.clock import utc_now
from orchestrator.errors import PermissionDeniedError, UnauthenticatedError
from orchestrator.fleet.api_token import Role
from tests.fakes.scripted_device import reason_of
from tests.orchestrator.api.conftest import LiveServer

FILES: tuple[FileDescriptor, ...] = (
    api_tokens_pb2.DESCRIPTOR,
    audit_pb2.DESCRIPTOR,
    delivery_pb2.DESCRIPTOR,
    devices_pb2.DESCRIPTOR,
    enrolment_pb2.DESCRIPTOR,
    join_tokens_pb2.DESCRIPTOR,
    releases_pb2.DESCRIPTOR,
    rollouts_pb2.DESCRIPTOR,
    searches_pb2.DESCRIPTOR,
    server_pb2.DESCRIPTOR,
    session_pb2.DESCRIPTOR,
)

ROLES = {
    Access.VIEWER: Role.VIEWER,
    Access.OPERATOR: Role.OPERATOR,
    Access.SIGNER: Role.SIGNER,
    Access.ADMIN: Role.ADMIN,
}


def _methods() -> Iterator[tuple[str, MethodDescriptor]]:
    for file in FILES:
        for service in file.services_by_name.values():
            for method in service.methods:
                yield f"/{service.full_name}/{method.name}", method


METHODS = dict(_methods())
OPERATORS = sorted(name for name, access in ACCESS.items() if access in ROLES)
MUTATING = sorted(name for name, access in ACCESS.items() if access in ROLES and access is not Access.VIEWER)
DEVICES = sorted(name for name, access in ACCESS.items() if access is Access.DEVICE)


def test_every_method_has_a_row_and_every_row_a_method() -> None:
    assert set(ACCESS) == set(METHODS)


def test_every_file_of_protos_with_a_service_is_compared() -> None:
    import importlib
    import pkgutil

    import fleetfit.v1

    modules = [name for _, name, _ in pkgutil.iter_modules(fleetfit.v1.__path__) if name.endswith("_pb2")]
    files = {importlib.import_module(f"fleetfit.v1.{name}").DESCRIPTOR for name in modules}
    assert {file.name for file in files if file.services_by_name} == {file.name for file in FILES}


def test_a_method_without_a_row_is_denied_to_everyone() -> None:
    admin = OperatorCaller(token_id="t", name="n", role=Role.ADMIN)
    device = DeviceCaller(device_id="d", key_fingerprint="f", certificate_expires_at=utc_now())
    for caller in (admin, device):
        with pytest.raises(PermissionDeniedError):
            authorise("/fleetfit.v1.NewService/Method", caller)
    with pytest.raises(UnauthenticatedError):
        authorise("/fleetfit.v1.NewService/Method", Anonymous())


async def _code(channel: grpc.aio.Channel, name: str, **options: Any) -> tuple[grpc.StatusCode, str]:
    """What an empty request to the method is answered."""
    method = METHODS[name]
    codec = {
        "request_serializer": lambda message: message.SerializeToString(),
        "response_deserializer": GetMessageClass(method.output_type).FromString,
    }
    request = GetMessageClass(method.input_type)()
    options.setdefault("timeout", 20)
    try:
        if method.client_streaming:
            call = channel.stream_stream(name, **codec)(iter([request]), **options)
            async for _ in call:
                break
        elif method.server_streaming:
            async for _ in channel.unary_stream(name, **codec)(request, **options):
                break
        else:
            await channel.unary_unary(name, **codec)(request, **options)
    except grpc.aio.AioRpcError as error:
        return error.code(), reason_of(error)
    return grpc.StatusCode.OK, ""


DENIED = (grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED")
NOBODY = (grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED")


@pytest.mark.parametrize("method", OPERATORS + DEVICES)
def test_nobody_calls_it_without_showing_something(server: LiveServer, method: str) -> None:
    async def scenario() -> tuple[grpc.StatusCode, str]:
        async with server.channel() as channel:
            return await _code(channel, method)

    assert server.run(scenario()) == NOBODY


@pytest.mark.parametrize("method", MUTATING)
def test_a_viewer_changes_nothing(server: LiveServer, method: str) -> None:
    async def scenario() -> tuple[grpc.StatusCode, str]:
        async with server.channel() as channel:
            return await _code(channel, method, **await server.as_role(Role.VIEWER))

    assert server.run(scenario()) == DENIED


@pytest.mark.parametrize("method", OPERATORS)
def test_a_device_does_nothing_that_is_for_operators(server: LiveServer, method: str) -> None:
    async def scenario() -> tuple[grpc.StatusCode, str]:
        device = await server.join()
        async with device.channel() as channel:
            # Not even with a stolen token on its connection: who shows a certificate is a device.
            return await _code(channel, method, **await server.as_role(Role.ADMIN))

    assert server.run(scenario()) == DENIED


@pytest.mark.parametrize("method", DEVICES)
def test_an_administrator_does_nothing_that_is_for_devices(server: LiveServer, method: str) -> None:
    async def scenario() -> tuple[grpc.StatusCode, str]:
        async with server.channel() as channel:
            return await _code(channel, method, **await server.as_role(Role.ADMIN))

    assert server.run(scenario()) == DENIED


@pytest.mark.parametrize("method", OPERATORS)
def test_the_least_role_that_a_row_names_gets_through(server: LiveServer, method: str) -> None:
    async def scenario() -> tuple[grpc.StatusCode, str]:
        async with server.channel() as channel:
            return await _code(channel, method, **await server.as_role(ROLES[ACCESS[method]]))

    code, _ = server.run(scenario())
    assert code in (grpc.StatusCode.OK, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT)


@pytest.mark.parametrize(
    "authorization",
    ["Bearer", "Bearer ", "Bearer nonsense", "Basic YTpi", "Bearer ffo1.aaaaaaaa." + "a" * 32, "bearer ff1.x.y"],
)
def test_a_token_that_is_none_is_refused(server: LiveServer, authorization: str) -> None:
    async def scenario() -> tuple[grpc.StatusCode, str]:
        async with server.channel() as channel:
            method = "/fleetfit.v1.DeviceService/ListDevices"
            return await _code(channel, method, metadata=(("authorization", authorization),))

    assert server.run(scenario()) == NOBODY


def test_a_revoked_token_is_refused(server: LiveServer) -> None:
    async def scenario() -> list[grpc.StatusCode]:
        token, secret = await server.orchestrator.operators.create(name="leaver", role=Role.ADMIN)
        codes = []
        async with server.channel() as channel:
            for _ in range(2):
                metadata = (("authorization", f"Bearer {secret}"),)
                codes.append((await _code(channel, "/fleetfit.v1.DeviceService/ListDevices", metadata=metadata))[0])
                await server.orchestrator.operators.revoke(token.id)
        return codes

    assert server.run(scenario()) == [grpc.StatusCode.OK, grpc.StatusCode.UNAUTHENTICATED]


def test_the_token_of_the_data_directory_is_an_administrators(server: LiveServer) -> None:
    async def scenario() -> str:
        from fleetfit.v1 import server_pb2_grpc

        token = server.config.layout.operator_token.read_text().strip()
        async with server.channel() as channel:
            response = await server_pb2_grpc.ServerServiceStub(channel).GetServerInfo(
                server_pb2.GetServerInfoRequest(), metadata=(("authorization", f"Bearer {token}"),)
            )
        return str(response.role)

    assert server.run(scenario()) == "admin"


def test_the_port_for_devices_refuses_whoever_shows_no_certificate(server: LiveServer) -> None:
    async def scenario() -> grpc.StatusCode:
        from tests.fakes.scripted_device import secure_channel

        async with secure_channel(server.device_address, server.authority) as channel:
            return (await _code(channel, "/fleetfit.v1.EnrolmentService/GetAuthority"))[0]

    assert server.run(scenario()) is grpc.StatusCode.UNAVAILABLE


def test_the_port_for_devices_refuses_a_certificate_of_another_authority(server: LiveServer) -> None:
    async def scenario() -> grpc.StatusCode:
        from orchestrator.fleet.certificates import make_ca_certificate, make_device_certificate, make_key
        from tests.fakes.scripted_device import key_pem, secure_channel

        device = await server.join()
        key, now = make_key(), utc_now()
        forged = make_device_certificate(
            ca=make_ca_certificate(key, now), ca_key=key, key=key.public_key(), device_id=device.id, now=now
        )
        from cryptography.hazmat.primitives.serialization import Encoding

        async with secure_channel(
            server.device_address, server.authority, key=key_pem(key), certificate=forged.public_bytes(Encoding.PEM)
        ) as channel:
            return (await _code(channel, "/fleetfit.v1.DeliveryService/FetchRepositoryFile"))[0]

    assert server.run(scenario()) is grpc.StatusCode.UNAVAILABLE


def test_a_servers_certificate_does_not_make_a_device(server: LiveServer) -> None:
    async def scenario() -> tuple[grpc.StatusCode, str]:
        from tests.fakes.scripted_device import secure_channel

        folder = server.config.layout.authority
        key, certificate = (folder / "server-key.pem").read_bytes(), (folder / "server.pem").read_bytes()
        async with secure_channel(server.device_address, server.authority, key=key, certificate=certificate) as channel:
            return await _code(channel, "/fleetfit.v1.SessionService/Connect")

    code, _ = server.run(scenario())
    assert code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNAUTHENTICATED)

"""The audit log over real sockets: what is recorded, what is not, and that a change to it is found."""

import sqlite3
from typing import Any

import grpc
import pytest
from fleetfit.v1 import (
    audit_pb2,
    audit_pb2_grpc,
    devices_pb2,
    devices_pb2_grpc,
    rollouts_pb2,
    rollouts_pb2_grpc,
)

from orchestrator.fleet.api_token import Role
from tests.orchestrator.api.conftest import LiveServer


async def _audit(server: LiveServer, method: str, request: Any, role: Role = Role.ADMIN) -> Any:
    async with server.channel() as channel:
        return await getattr(audit_pb2_grpc.AuditServiceStub(channel), method)(request, **await server.as_role(role))


async def _entries(server: LiveServer) -> list[audit_pb2.AuditEntry]:
    return list((await _audit(server, "ListAuditEntries", audit_pb2.ListAuditEntriesRequest(limit=10_000))).entries)


async def _create_rollout(server: LiveServer, role: Role) -> grpc.StatusCode:
    async with server.channel() as channel:
        request = rollouts_pb2.CreateRolloutRequest(release="digits:1", selector="all")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await rollouts_pb2_grpc.RolloutServiceStub(channel).CreateRollout(request, **await server.as_role(role))
        return caught.value.code()


def test_a24_a_viewer_who_starts_a_rollout_is_denied_and_recorded(server: LiveServer) -> None:
    async def scenario() -> None:
        assert await _create_rollout(server, Role.VIEWER) is grpc.StatusCode.PERMISSION_DENIED
        last = (await _entries(server))[-1]
        assert (last.method, last.parameters) == ("RolloutService/CreateRollout", "release=digits:1, selector=all")
        assert last.actor.startswith("token viewer ")
        assert last.outcome.startswith("denied: CreateRollout needs the role operator")

    server.run(scenario())


def test_a_change_is_recorded_before_it_is_done_and_again_where_it_fails(server: LiveServer) -> None:
    async def scenario() -> None:
        assert await _create_rollout(server, Role.OPERATOR) is grpc.StatusCode.NOT_FOUND
        allowed, failed = (await _entries(server))[-2:]
        assert (allowed.outcome, allowed.request_id) == ("allowed", failed.request_id)
        assert failed.outcome.startswith("failed: there is no release")

    server.run(scenario())


def test_looking_is_not_recorded_and_neither_are_strangers(server: LiveServer) -> None:
    async def scenario() -> None:
        before = await _entries(server)
        async with server.channel() as channel:
            stub = devices_pb2_grpc.DeviceServiceStub(channel)
            await stub.ListDevices(devices_pb2.ListDevicesRequest(), **await server.as_role(Role.VIEWER))
            with pytest.raises(grpc.aio.AioRpcError):
                await stub.RemoveDevice(devices_pb2.RemoveDeviceRequest(device="x"), timeout=20)
        assert await _entries(server) == before

    server.run(scenario())


def test_a_device_that_joins_is_recorded_without_its_token(server: LiveServer) -> None:
    async def scenario() -> None:
        await server.join("recorded")
        last = (await _entries(server))[-1]
        assert (last.method, last.outcome) == ("EnrolmentService/Enrol", "done")
        assert last.parameters == "name=recorded"

    server.run(scenario())


def test_the_log_is_for_administrators(server: LiveServer) -> None:
    async def scenario() -> None:
        for method, request in (
            ("ListAuditEntries", audit_pb2.ListAuditEntriesRequest()),
            ("VerifyAuditLog", audit_pb2.VerifyAuditLogRequest()),
        ):
            for role in (Role.VIEWER, Role.OPERATOR, Role.SIGNER):
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await _audit(server, method, request, role)
                assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED

    server.run(scenario())


def test_a25_an_entry_that_was_altered_in_the_database_is_named(server: LiveServer) -> None:
    async def scenario() -> None:
        for _ in range(3):
            await _create_rollout(server, Role.VIEWER)
        whole = await _audit(server, "VerifyAuditLog", audit_pb2.VerifyAuditLogRequest())
        assert (whole.first_broken, whole.entries) == (0, (await _entries(server))[-1].number)
        assert whole.last_hash == (await _entries(server))[-1].hash
        victim = (await _entries(server))[-2]
        with sqlite3.connect(server.config.layout.root / "fleetfit.db", timeout=20) as connection:
            change = "UPDATE audit_entries SET outcome = ? WHERE number = ?"
            connection.execute(change, ("allowed", victim.number))
            connection.commit()
            broken = await _audit(server, "VerifyAuditLog", audit_pb2.VerifyAuditLogRequest())
            assert broken.first_broken == victim.number
            connection.execute(change, (victim.outcome, victim.number))
        connection.close()
        assert (await _audit(server, "VerifyAuditLog", audit_pb2.VerifyAuditLogRequest())).first_broken == 0

    server.run(scenario())

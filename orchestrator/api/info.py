"""The service that says what this server is."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import grpc
from fleetfit.v1 import server_pb2, server_pb2_grpc

from orchestrator.api.caller import calling_operator
from orchestrator.fleet.authority import Authority
from orchestrator.fleet.sessions import Sessions


class ServerService(server_pb2_grpc.ServerServiceServicer):
    """The server about itself, and about the caller."""

    def __init__(self, *, authority: Authority, sessions: Sessions, public_address: str, device_address: str) -> None:
        self._authority = authority
        self._sessions = sessions
        self._public_address = public_address
        self._device_address = device_address

    async def GetServerInfo(
        self, request: server_pb2.GetServerInfoRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> server_pb2.GetServerInfoResponse:
        """Version, addresses, and the role of the caller's token."""
        return server_pb2.GetServerInfoResponse(
            version=version("fleetfit"),
            public_address=self._public_address,
            device_address=self._device_address,
            ca_hash=self._authority.ca_hash(),
            role=calling_operator().role.value,
            devices_online=self._sessions.count,
        )

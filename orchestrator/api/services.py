"""All services of the API, and how a server learns of them."""

from __future__ import annotations

from dataclasses import dataclass

import grpc
from fleetfit.v1 import (
    api_tokens_pb2_grpc,
    audit_pb2_grpc,
    delivery_pb2_grpc,
    devices_pb2_grpc,
    enrolment_pb2_grpc,
    join_tokens_pb2_grpc,
    releases_pb2_grpc,
    rollouts_pb2_grpc,
    searches_pb2_grpc,
    server_pb2_grpc,
    session_pb2_grpc,
)

from orchestrator.api.api_tokens import ApiTokenService
from orchestrator.api.audit import AuditService
from orchestrator.api.delivery import DeliveryService
from orchestrator.api.devices import DeviceService
from orchestrator.api.enrolment import EnrolmentService
from orchestrator.api.info import ServerService
from orchestrator.api.join_tokens import JoinTokenService
from orchestrator.api.releases import ReleaseService
from orchestrator.api.rollouts import RolloutService
from orchestrator.api.searches import SearchService
from orchestrator.api.session import SessionService


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """One of each."""

    enrolment: EnrolmentService
    join_tokens: JoinTokenService
    devices: DeviceService
    searches: SearchService
    releases: ReleaseService
    rollouts: RolloutService
    server: ServerService
    session: SessionService
    delivery: DeliveryService
    audit: AuditService
    api_tokens: ApiTokenService

    def register(self, server: grpc.aio.Server) -> None:
        """Has ``server`` answer for all of them, on all its ports; the access table decides who gets through."""
        enrolment_pb2_grpc.add_EnrolmentServiceServicer_to_server(self.enrolment, server)
        join_tokens_pb2_grpc.add_JoinTokenServiceServicer_to_server(self.join_tokens, server)
        devices_pb2_grpc.add_DeviceServiceServicer_to_server(self.devices, server)
        searches_pb2_grpc.add_SearchServiceServicer_to_server(self.searches, server)
        releases_pb2_grpc.add_ReleaseServiceServicer_to_server(self.releases, server)
        rollouts_pb2_grpc.add_RolloutServiceServicer_to_server(self.rollouts, server)
        server_pb2_grpc.add_ServerServiceServicer_to_server(self.server, server)
        session_pb2_grpc.add_SessionServiceServicer_to_server(self.session, server)
        delivery_pb2_grpc.add_DeliveryServiceServicer_to_server(self.delivery, server)
        api_tokens_pb2_grpc.add_ApiTokenServiceServicer_to_server(self.api_tokens, server)
        audit_pb2_grpc.add_AuditServiceServicer_to_server(self.audit, server)

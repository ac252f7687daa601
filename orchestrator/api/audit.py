"""The service that shows the audit log."""

from __future__ import annotations

from typing import Any

import grpc
from fleetfit.v1 import audit_pb2, audit_pb2_grpc

from orchestrator.api.convert.scalars import timestamp
from orchestrator.audit.log import AuditLog


class AuditService(audit_pb2_grpc.AuditServiceServicer):
    """The audit log for administrators."""

    def __init__(self, *, log: AuditLog) -> None:
        self._log = log

    async def ListAuditEntries(
        self, request: audit_pb2.ListAuditEntriesRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> audit_pb2.ListAuditEntriesResponse:
        """The newest entries."""
        entries = [
            audit_pb2.AuditEntry(
                number=entry.number,
                recorded_at=timestamp(entry.recorded_at),
                actor=entry.actor,
                method=entry.method,
                parameters=entry.parameters,
                outcome=entry.outcome,
                request_id=entry.request_id,
                hash=entry.hash,
            )
            for entry in await self._log.list(request.limit)
        ]
        return audit_pb2.ListAuditEntriesResponse(entries=entries)

    async def VerifyAuditLog(
        self, request: audit_pb2.VerifyAuditLogRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> audit_pb2.VerifyAuditLogResponse:
        """Whether every entry is what was recorded."""
        verdict = await self._log.verify()
        return audit_pb2.VerifyAuditLogResponse(
            entries=verdict.entries, first_broken=verdict.first_broken or 0, last_hash=verdict.last_hash
        )

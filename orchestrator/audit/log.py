"""The audit log in the database."""

from __future__ import annotations

from orchestrator.audit.entry import AuditEntry, Verdict, chained, verify
from orchestrator.clock import Clock
from orchestrator.fleet.plain_text import plain_text
from orchestrator.storage.database import Database
from orchestrator.storage.transaction import Transaction

MAXIMUM_LISTED = 10_000
_DEFAULT_LISTED = 100
_TEXT_LIMIT = 500


class AuditLog:
    """Appends and reads entries; nothing changes or removes one."""

    def __init__(self, *, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def record(self, *, actor: str, method: str, parameters: str, outcome: str, request_id: str) -> None:
        """Appends an entry. When this returns, it survives the loss of power."""
        now = self._clock()

        def work(tx: Transaction) -> None:
            tx.audit_entries.append(
                chained(
                    tx.audit_entries.last(),
                    recorded_at=now,
                    actor=plain_text(actor, limit=_TEXT_LIMIT),
                    method=method,
                    parameters=plain_text(parameters, limit=_TEXT_LIMIT),
                    outcome=plain_text(outcome, limit=_TEXT_LIMIT),
                    request_id=request_id,
                )
            )

        await self._database.run(work)

    async def list(self, limit: int = 0) -> tuple[AuditEntry, ...]:
        """The newest ``limit`` entries, oldest first; 0: a hundred."""
        wanted = min(limit or _DEFAULT_LISTED, MAXIMUM_LISTED)
        return await self._database.run(lambda tx: tx.audit_entries.newest(wanted))

    async def verify(self) -> Verdict:
        """Follows the whole chain."""
        return await self._database.run(lambda tx: verify(tx.audit_entries.list()))

"""Entries of the audit log."""

from __future__ import annotations

from orchestrator.audit.entry import AuditEntry
from orchestrator.errors import ConflictError
from orchestrator.storage.repository import Repository
from orchestrator.storage.tables import AUDIT_ENTRIES


class AuditEntryRepository(Repository[AuditEntry]):
    """Entries; never changed and never removed."""

    table = AUDIT_ENTRIES
    record_type = AuditEntry
    kind = "audit entry"

    def append(self, entry: AuditEntry) -> None:
        """Adds the entry after the last one.

        Raises:
            ConflictError: There is one with its number.
        """
        if not self._insert_once(entry):
            raise ConflictError(f"audit entry {entry.number} exists already", reason="ALREADY_EXISTS")

    def last(self) -> AuditEntry | None:
        """The newest entry."""
        return self._newest()

    def newest(self, limit: int) -> tuple[AuditEntry, ...]:
        """The newest entries, oldest first."""
        return tuple(reversed(self._select(order=AUDIT_ENTRIES.c.position.desc(), limit=limit)))

    def list(self) -> tuple[AuditEntry, ...]:
        """All entries, oldest first."""
        return self._select()

"""What the orchestrator must learn, kept on disk until it confirms that it has."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from agent.database import transaction


class MessageKind(str, Enum):
    """What a row of the outbox is about."""

    JOB_RESULT = "job_result"
    DEPLOYMENT_REPORT = "deployment_report"


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingMessage:
    """One row: ``id`` is what the receipt will name, ``subject`` the job or the deployment that it is about."""

    id: str
    kind: MessageKind
    subject: str
    # As it goes onto the stream.
    payload: bytes


class Outbox:
    """Messages in the order in which they were put; each stays until ``remove``, across restarts and power cuts.

    Args:
        connection: From ``open_database``.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        # Set whenever a message is put or asked for again.
        self.changed = asyncio.Event()

    def put(
        self, message: WaitingMessage, *, within: Callable[[sqlite3.Connection], object] = lambda connection: None
    ) -> None:
        """Keeps the message; one with the same id is kept once. ``within`` runs in the same transaction.

        Raises:
            NoSpaceError: The disk is full; nothing was changed.
        """
        with transaction(self._connection) as connection:
            within(connection)
            connection.execute(
                "INSERT OR IGNORE INTO outbox (id, kind, subject, payload) VALUES (?, ?, ?, ?)",
                (message.id, message.kind.value, message.subject, message.payload),
            )
        self.changed.set()

    def remove(self, message_id: str) -> bool:
        """Forgets the message: the orchestrator has it. False where there was none."""
        with transaction(self._connection) as connection:
            return connection.execute("DELETE FROM outbox WHERE id = ?", (message_id,)).rowcount > 0

    def waiting(self) -> tuple[WaitingMessage, ...]:
        """Every message that has no receipt yet, oldest first."""
        rows = self._connection.execute("SELECT id, kind, subject, payload FROM outbox ORDER BY sequence")
        return tuple(
            WaitingMessage(id=row[0], kind=MessageKind(row[1]), subject=row[2], payload=row[3]) for row in rows
        )

    def subjects(self, kind: MessageKind) -> tuple[str, ...]:
        """The jobs or deployments that messages of this kind are about, oldest first."""
        rows = self._connection.execute("SELECT subject FROM outbox WHERE kind = ? ORDER BY sequence", (kind.value,))
        return tuple(row[0] for row in rows)

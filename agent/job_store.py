"""Jobs that this device took on: written down before they run, so that a restart knows of them."""

from __future__ import annotations

import dataclasses
import json
import logging
import sqlite3
from dataclasses import dataclass

from agent.database import transaction
from agent.messages import JobAssignment
from agent.profiling.measurement import MeasureRequest

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RememberedJob:
    """A job without a result yet."""

    job_id: str
    attempt: int
    request: MeasureRequest


class JobStore:
    """Jobs in the order in which they were assigned.

    Args:
        connection: From ``open_database``.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def remember(self, assignment: JobAssignment, request: MeasureRequest, *, now_s: float) -> RememberedJob:
        """The job, on disk when this returns.

        Raises:
            NoSpaceError: The disk is full.
        """
        text = json.dumps(dataclasses.asdict(request))
        with transaction(self._connection) as connection:
            connection.execute(
                "INSERT OR REPLACE INTO jobs (job_id, attempt, lease_s, assigned_at, request) VALUES (?, ?, ?, ?, ?)",
                (assignment.job_id, assignment.attempt, assignment.lease_s, now_s, text),
            )
        return RememberedJob(job_id=assignment.job_id, attempt=assignment.attempt, request=request)

    def count_start(self, job_id: str) -> int:
        """How often the job has been started, this time included."""
        with transaction(self._connection) as connection:
            connection.execute("UPDATE jobs SET starts = starts + 1 WHERE job_id = ?", (job_id,))
            row = connection.execute("SELECT starts FROM jobs WHERE job_id = ?", (job_id,)).fetchone()
        return int(row[0]) if row else 1

    def forgive_start(self, job_id: str) -> None:
        """Counts one start less: the agent was told to stop, which is not the job's fault."""
        with transaction(self._connection) as connection:
            connection.execute("UPDATE jobs SET starts = starts - 1 WHERE job_id = ?", (job_id,))

    def forget(self, job_id: str) -> None:
        """Removes the job."""
        with transaction(self._connection) as connection:
            self.forget_within(connection, job_id)

    @staticmethod
    def forget_within(connection: sqlite3.Connection, job_id: str) -> None:
        """Removes the job as a part of somebody else's transaction."""
        connection.execute("DELETE FROM jobs WHERE job_id = ?", (job_id,))

    def restore(self, *, now_s: float) -> tuple[RememberedJob, ...]:
        """Jobs of an earlier run whose first lease still holds, oldest first; the others are forgotten.

        A job whose lease has passed is leased anew, here or not at all: to measure it unasked would be idle work.
        """
        rows = self._connection.execute(
            "SELECT job_id, attempt, lease_s, assigned_at, request FROM jobs ORDER BY sequence"
        ).fetchall()
        restored = []
        for job_id, attempt, lease_s, assigned_at, text in rows:
            request = _request(text)
            if request is None or now_s - assigned_at >= lease_s:
                _log.info("job %s of an earlier run is dropped: it will be leased anew", job_id)
                self.forget(job_id)
            else:
                restored.append(RememberedJob(job_id=job_id, attempt=attempt, request=request))
        return tuple(restored)


def _request(text: str) -> MeasureRequest | None:
    """The request as stored; None where another version of the agent wrote it with other fields."""
    try:
        return MeasureRequest(**json.loads(text))
    except (ValueError, TypeError):
        return None

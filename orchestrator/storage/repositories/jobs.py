"""Jobs that devices owe."""

from __future__ import annotations

from datetime import datetime

from orchestrator.fleet.job import Job, JobState
from orchestrator.storage.repository import IdentifiedRepository
from orchestrator.storage.tables import JOBS


class JobRepository(IdentifiedRepository[Job]):
    """Jobs, oldest first; keys are unique."""

    table = JOBS
    record_type = Job
    kind = "job"

    def by_key(self, key: str) -> Job | None:
        """The job of this purpose."""
        return self._first(JOBS.c.key == key)

    def queued(self, device_id: str) -> tuple[Job, ...]:
        """The jobs that wait for the device, oldest first."""
        return self._select(JOBS.c.device_id == device_id, JOBS.c.state == JobState.QUEUED)

    def leased(self, device_id: str) -> tuple[Job, ...]:
        """The jobs that the device holds, oldest first, whether or not their lease has passed."""
        return self._select(JOBS.c.device_id == device_id, JOBS.c.state == JobState.LEASED)

    def expired(self, now: datetime) -> tuple[Job, ...]:
        """The jobs whose lease has passed, on any device, oldest first."""
        return self._select(JOBS.c.state == JobState.LEASED, JOBS.c.lease_expires_at <= now)

    def unfinished(self) -> tuple[Job, ...]:
        """The jobs of every device that are queued or leased, oldest first."""
        return self._select(JOBS.c.state.in_([state for state in JobState if not state.final]))

    def update(self, job: Job, *, expecting: JobState | None = None) -> None:
        """Replaces the job.

        Args:
            job: What it shall be.
            expecting: The state that the stored job must be in, where one is given.

        Raises:
            ConflictError: It is in another state (reason ``STALE``).
            NotFoundError: There is no such job.
        """
        self._replace_expecting(job, expecting)

    def _title(self, record: Job) -> str:
        return record.key

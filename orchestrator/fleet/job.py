"""A job: work that one device is asked to do, leased, and safe to hand out twice."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from orchestrator.fleet.measurement import MeasureRequest


class JobState(str, Enum):
    """Where a job is; DONE, FAILED and CANCELLED are final."""

    QUEUED = "queued"
    LEASED = "leased"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """Whether nothing more will happen to the job."""
        return self in (JobState.DONE, JobState.FAILED, JobState.CANCELLED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One measurement that a device owes.

    ``key`` names the purpose ("trial 7 confirm on device 3"): asking again with the same key finds the same job, so a
    controller that was killed after asking does not ask twice.
    """

    id: str
    key: str
    device_id: str
    request: MeasureRequest
    state: JobState
    created_at: datetime
    attempt: int = 0
    lease_expires_at: datetime | None = None
    # What the device says it is doing, for people.
    progress: str = ""
    # Set when DONE.
    result_id: str = ""
    # Set when FAILED.
    error: str = ""

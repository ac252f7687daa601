"""The moves of a job between queue and device. Pure: time is handed in.

A job is leased to its device for a while, and the lease is renewed by whatever the device says of the job. A job whose
lease has passed, or that its device knows nothing of any more, goes back to the queue, a limited number of times.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from orchestrator.fleet.job import Job, JobState
from orchestrator.fleet.measurement import Measurement

LEASE = timedelta(seconds=60)
MAXIMUM_ATTEMPTS = 5


def leased(job: Job, *, now: datetime) -> Job:
    """The queued job, handed to its device once more."""
    return replace(job, state=JobState.LEASED, attempt=job.attempt + 1, lease_expires_at=now + LEASE)


def renewed(job: Job, *, now: datetime) -> Job:
    """The job, still with its device: also if its lease had passed, as long as nobody else was asked."""
    return replace(job, state=JobState.LEASED, lease_expires_at=now + LEASE)


def returned(job: Job, *, why: str) -> Job:
    """The job that its device gave up or forgot: back in the queue, or failed where it was handed out often enough."""
    if job.attempt < MAXIMUM_ATTEMPTS:
        return replace(job, state=JobState.QUEUED, lease_expires_at=None, progress="")
    return failed(job, why=f"given up after {job.attempt} attempts: {why}")


def failed(job: Job, *, why: str) -> Job:
    """The job, over, without a result."""
    return replace(job, state=JobState.FAILED, lease_expires_at=None, progress="", error=why)


def cancelled(job: Job) -> Job:
    """The job, over, because nobody wants its result any more."""
    return replace(job, state=JobState.CANCELLED, lease_expires_at=None, progress="")


def done(job: Job, measurement: Measurement) -> Job:
    """The job with its result."""
    return replace(job, state=JobState.DONE, lease_expires_at=None, progress="", result_id=measurement.result_id)

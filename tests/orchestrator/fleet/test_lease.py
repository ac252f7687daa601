from datetime import timedelta

import pytest

from orchestrator.fleet import lease
from orchestrator.fleet.job import JobState
from tests.orchestrator.storage.records import NOW, a_job, a_measurement


def test_a_lease_counts_an_attempt_and_ends() -> None:
    job = lease.leased(a_job(), now=NOW)
    assert (job.state, job.attempt, job.lease_expires_at) == (JobState.LEASED, 1, NOW + lease.LEASE)


def test_a_renewal_counts_nothing_and_takes_a_job_back_from_the_queue() -> None:
    later = NOW + timedelta(seconds=30)
    for state in (JobState.LEASED, JobState.QUEUED):
        job = lease.renewed(a_job(state=state, attempt=2), now=later)
        assert (job.state, job.attempt, job.lease_expires_at) == (JobState.LEASED, 2, later + lease.LEASE)


@pytest.mark.parametrize("attempt", range(1, lease.MAXIMUM_ATTEMPTS))
def test_a_job_that_comes_back_is_queued_again(attempt: int) -> None:
    job = lease.returned(a_job(state=JobState.LEASED, attempt=attempt, progress="timing"), why="silence")
    assert (job.state, job.attempt, job.progress, job.lease_expires_at) == (JobState.QUEUED, attempt, "", None)


def test_a_job_that_came_back_too_often_fails_with_the_reason() -> None:
    job = lease.returned(a_job(state=JobState.LEASED, attempt=lease.MAXIMUM_ATTEMPTS), why="the device went silent")
    assert job.state is JobState.FAILED
    assert job.error == "given up after 5 attempts: the device went silent"


def test_what_is_over_has_no_lease() -> None:
    job = a_job(state=JobState.LEASED, lease_expires_at=NOW, progress="timing")
    measurement = a_measurement()
    done, failed, cancelled = lease.done(job, measurement), lease.failed(job, why="w"), lease.cancelled(job)
    assert (done.state, done.result_id) == (JobState.DONE, measurement.result_id)
    assert (failed.state, failed.error) == (JobState.FAILED, "w")
    assert cancelled.state is JobState.CANCELLED
    for over in (done, failed, cancelled):
        assert over.state.final
        assert (over.lease_expires_at, over.progress) == (None, "")

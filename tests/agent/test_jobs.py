"""Jobs across restarts, and on disks that are full."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fleetfit.v1 import session_pb2

from agent.artifacts import ArtifactStore
from agent.database import open_database
from agent.errors import NoSpaceError
from agent.job_store import JobStore
from agent.jobs import JobRunner, Taken
from agent.messages import JobAssignment
from agent.outbox import MessageKind, Outbox
from agent.profiling.measurement import MeasureRequest
from tests.agent.device import FakeProfiler
from tests.agent.test_artifacts import DATA, SHA256, FakeDelivery

REQUEST = MeasureRequest(artifact_sha256=SHA256, artifact_size_bytes=len(DATA), artifact_format="onnx")


def assignment(job_id: str = "job-1", *, lease_s: float = 60) -> JobAssignment:
    return JobAssignment(job_id=job_id, attempt=1, lease_s=lease_s, measure=REQUEST)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(open_database(tmp_path / "state.db")) as connection:
        yield connection


def runner(database: sqlite3.Connection, folder: Path, profiler: FakeProfiler) -> JobRunner:
    """As after a start of the agent on this database."""
    artifacts = ArtifactStore(folder / "stage", FakeDelivery(DATA), quota_bytes=1 << 20)
    return JobRunner(store=JobStore(database), outbox=Outbox(database), artifacts=artifacts, profiler=profiler)


async def run_until_idle(jobs: JobRunner) -> None:
    task = asyncio.create_task(jobs.run())
    while jobs._under_way():
        await asyncio.sleep(0.01)
        assert not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def results(database: sqlite3.Connection) -> list[session_pb2.JobResult]:
    waiting = Outbox(database).waiting()
    assert all(message.kind is MessageKind.JOB_RESULT for message in waiting)
    return [session_pb2.ConnectRequest.FromString(message.payload).job_result for message in waiting]


def test_a_job_is_on_the_disk_before_it_runs(database: sqlite3.Connection, tmp_path: Path) -> None:
    assert runner(database, tmp_path, FakeProfiler()).take(assignment()) is Taken.ACCEPTED
    # The process dies here; another one starts.
    assert runner(database, tmp_path, FakeProfiler()).job_ids() == ("job-1",)


def test_a_result_takes_the_place_of_its_job_in_one_step(database: sqlite3.Connection, tmp_path: Path) -> None:
    jobs = runner(database, tmp_path, FakeProfiler())
    jobs.take(assignment())
    asyncio.run(run_until_idle(jobs))
    assert JobStore(database).restore(now_s=time.time()) == ()
    assert [result.job_id for result in results(database)] == ["job-1"]
    # It is still the device's until the receipt comes.
    assert jobs.job_ids() == runner(database, tmp_path, FakeProfiler()).job_ids() == ("job-1",)


def test_jobs_are_done_in_the_order_in_which_they_came_also_after_a_restart(
    database: sqlite3.Connection, tmp_path: Path
) -> None:
    first = runner(database, tmp_path, FakeProfiler())
    for job_id in ("job-b", "job-a", "job-c"):
        first.take(assignment(job_id))
    asyncio.run(run_until_idle(runner(database, tmp_path, FakeProfiler())))
    assert [result.job_id for result in results(database)] == ["job-b", "job-a", "job-c"]


def test_a_job_whose_lease_has_passed_is_dropped_at_the_start(database: sqlite3.Connection, tmp_path: Path) -> None:
    store = JobStore(database)
    store.remember(assignment("old", lease_s=60), REQUEST, now_s=time.time() - 61)
    store.remember(assignment("new", lease_s=60), REQUEST, now_s=time.time() - 30)
    assert runner(database, tmp_path, FakeProfiler()).job_ids() == ("new",)
    assert [job.job_id for job in store.restore(now_s=time.time())] == ["new"]


def test_a_job_that_another_version_wrote_is_dropped(database: sqlite3.Connection, tmp_path: Path) -> None:
    JobStore(database).remember(assignment(), REQUEST, now_s=time.time())
    database.execute("UPDATE jobs SET request = ?", ('{"artifact_sha256": "x", "from_the_future": 1}',))
    assert runner(database, tmp_path, FakeProfiler()).job_ids() == ()


def test_a_job_that_kills_the_agent_is_not_tried_for_ever(database: sqlite3.Connection, tmp_path: Path) -> None:
    runner(database, tmp_path, FakeProfiler()).take(assignment())
    for _ in range(3):
        # Three processes begin, and are never heard of again.
        JobStore(database).count_start("job-1")
    profiler = FakeProfiler()
    asyncio.run(run_until_idle(runner(database, tmp_path, profiler)))
    assert profiler.measured == []
    measurement = results(database)[0].measurement
    assert measurement.outcome == 2
    assert "did not survive 3 tries" in measurement.detail


def test_an_agent_that_is_told_to_stop_does_not_blame_the_job(database: sqlite3.Connection, tmp_path: Path) -> None:
    async def scenario() -> None:
        runner(database, tmp_path, FakeProfiler()).take(assignment())
        profiler = FakeProfiler()
        profiler.go.clear()
        for _ in range(5):
            await stop_while_measuring(runner(database, tmp_path, profiler), profiler)
        profiler.go.set()
        await run_until_idle(runner(database, tmp_path, profiler))
        assert results(database)[0].measurement.outcome == 1
        assert profiler.killed == 5

    asyncio.run(scenario())


async def stop_while_measuring(jobs: JobRunner, profiler: FakeProfiler) -> None:
    task = asyncio.create_task(jobs.run())
    while not profiler.running:
        await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_a_job_that_cannot_be_written_down_is_not_accepted(database: sqlite3.Connection, tmp_path: Path) -> None:
    jobs = runner(database, tmp_path, FakeProfiler())
    database.execute("PRAGMA max_page_count = 1")
    with pytest.raises(NoSpaceError, match="full"):
        take_many(jobs)
    accepted = jobs.job_ids()
    database.execute("PRAGMA max_page_count = 100000")
    assert runner(database, tmp_path, FakeProfiler()).job_ids() == accepted


def take_many(jobs: JobRunner) -> None:
    for number in range(1000):
        jobs.take(assignment(f"job-{number}"))


def test_a_result_waits_for_space_and_is_not_lost(
    database: sqlite3.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.jobs._STORAGE_RETRY_S", 0.01)
    jobs = runner(database, tmp_path, FakeProfiler())
    jobs.take(assignment())
    put, failures = Outbox.put, 3

    def fail_at_first(self: Outbox, *arguments: object, **options: object) -> None:
        nonlocal failures
        if failures:
            failures -= 1
            raise NoSpaceError("full")
        put(self, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Outbox, "put", fail_at_first)
    asyncio.run(run_until_idle(jobs))
    assert failures == 0
    assert [result.job_id for result in results(database)] == ["job-1"]

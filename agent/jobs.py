"""Measuring what the orchestrator asks for: one job at a time, each one once."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import uuid
from collections import deque
from collections.abc import Callable
from datetime import datetime, timezone
from enum import Enum
from pathlib import Path
from typing import Protocol

from agent.artifacts import ArtifactStore
from agent.backoff import Backoff
from agent.convert import encode
from agent.errors import AgentError, ArtifactRefusedError, BusyError, NoSpaceError, UnreachableError
from agent.job_store import JobStore, RememberedJob
from agent.messages import JobAssignment, JobProgress, JobResult
from agent.outbox import MessageKind, Outbox, WaitingMessage
from agent.profiling.measurement import Measurement, MeasureRequest, Outcome

_log = logging.getLogger(__name__)

# A job that the agent did not survive this often is not tried again.
_MAXIMUM_STARTS = 3
# A download that is cut off this often without a byte in between is given back.
_MAXIMUM_CUTS = 10
_STORAGE_RETRY_S = 10.0
# What holds the device for long asks again itself; a search waits for this one.
_BUSY_RETRY_S = 1.0


class MeasuringProfiler(Protocol):
    """What measures an artifact; ``agent.profiling.profiler.Profiler`` in a real agent."""

    async def measure(
        self,
        request: MeasureRequest,
        *,
        artifact_path: Path,
        golden_path: Path | None,
        on_progress: Callable[[str], None],
    ) -> Measurement:
        """What came of it. Cancelled, it ends the measuring process before it returns.

        Raises:
            BusyError: Something on this device must not be disturbed; later is fine.
        """
        ...


class Taken(str, Enum):
    """What became of an assignment."""

    ACCEPTED = "accepted"
    # It runs already, or waits for its turn.
    UNDER_WAY = "under_way"
    # Its result is in the outbox.
    DONE = "done"


class JobRunner:
    """Takes jobs, runs them in the order in which they came, and puts their results into the outbox.

    Args:
        store: Jobs are written there before they run.
        outbox: Results go there, in the transaction that removes the job.
        artifacts: Where models and golden arrays come from.
        profiler: What measures.
        on_activity: Told in words what the device does from now on.
        backoff: Waits while the orchestrator is not available.
    """

    def __init__(
        self,
        *,
        store: JobStore,
        outbox: Outbox,
        artifacts: ArtifactStore,
        profiler: MeasuringProfiler,
        on_activity: Callable[[str], None] = lambda activity: None,
        backoff: Backoff | None = None,
    ) -> None:
        self._store = store
        self._outbox = outbox
        self._artifacts = artifacts
        self._profiler = profiler
        self._on_activity = on_activity
        self._backoff = backoff or Backoff()
        self._queue = deque(store.restore(now_s=time.time()))
        self._queued = asyncio.Event()
        self._running: RememberedJob | None = None
        self._work: asyncio.Task[Measurement] | None = None
        # The latest only: progress is for people who look now.
        self._progress: JobProgress | None = None
        self.progressed = asyncio.Event()

    def take(self, assignment: JobAssignment) -> Taken:
        """Accepts the job, unless this device has it already.

        Raises:
            NoSpaceError: The job cannot be written down, so it is not accepted.
        """
        job_id = assignment.job_id
        if job_id in self._outbox.subjects(MessageKind.JOB_RESULT):
            return Taken.DONE
        if job_id in self._under_way():
            return Taken.UNDER_WAY
        if assignment.measure is None:
            self._finish(job_id, _unsupported(job_id))
            return Taken.DONE
        self._queue.append(self._store.remember(assignment, assignment.measure, now_s=time.time()))
        self._queued.set()
        return Taken.ACCEPTED

    def cancel(self, job_id: str) -> None:
        """Stops the job; the measuring process is gone before another job begins."""
        if self._running is not None and self._running.job_id == job_id and self._work is not None:
            self._work.cancel()
            return
        waiting = next((job for job in self._queue if job.job_id == job_id), None)
        if waiting is not None:
            self._queue.remove(waiting)
            self._finish(job_id, _unfinished(waiting.request, "cancelled before it began"))

    def job_ids(self) -> tuple[str, ...]:
        """Every job whose lease this device holds: running, waiting, or done without a receipt."""
        return (*self._under_way(), *self._outbox.subjects(MessageKind.JOB_RESULT))

    def take_progress(self) -> JobProgress | None:
        """The latest progress, once; None where nothing is new."""
        self.progressed.clear()
        progress, self._progress = self._progress, None
        return progress

    async def run(self) -> None:
        """Works off the jobs until it is cancelled; a job that is interrupted so is done again at the next start."""
        while True:
            while not self._queue:
                self._queued.clear()
                await self._queued.wait()
            job = self._running = self._queue.popleft()
            self._on_activity(f"measuring {job.request.artifact_sha256[:12]}")
            try:
                await self._deliver(job.job_id, await self._outcome(job))
            finally:
                self._running = None
                self._on_activity("idle")

    async def _outcome(self, job: RememberedJob) -> Measurement:
        """What came of the job, whatever came of it."""
        self._work = asyncio.create_task(self._measure(job))
        try:
            await asyncio.wait({self._work})
        finally:
            # The agent stops: the measuring process must be gone before, and the job is not to blame.
            if not self._work.done():
                self._work.cancel()
                await asyncio.wait({self._work})
                self._store.forgive_start(job.job_id)
            work, self._work = self._work, None
        if work.cancelled():
            return _unfinished(job.request, "cancelled")
        error = work.exception()
        if error is None:
            return work.result()
        if isinstance(error, ArtifactRefusedError):
            return _measurement(job.request, Outcome.ARTIFACT_REFUSED, error.message)
        if isinstance(error, AgentError):
            _log.warning("job %s is given back: %s", job.job_id, error.message)
            return _unfinished(job.request, error.message)
        if not isinstance(error, Exception):
            raise error
        # A fault of ours must not stop the device from taking the next job; it is shown, here and to the operator.
        _log.error("job %s failed", job.job_id, exc_info=error)
        return _unfinished(job.request, f"internal error: {type(error).__name__}: {error}")

    async def _measure(self, job: RememberedJob) -> Measurement:
        request = job.request
        starts = self._store.count_start(job.job_id)
        if starts > _MAXIMUM_STARTS:
            detail = f"the agent did not survive {starts - 1} tries to measure it"
            return _measurement(request, Outcome.CRASHED, detail)
        with contextlib.ExitStack() as held:
            held.enter_context(self._artifacts.hold(request.artifact_sha256))
            artifact = await self._fetch(job, "model", request.artifact_sha256, request.artifact_size_bytes)
            golden = None
            if request.golden_sha256:
                held.enter_context(self._artifacts.hold(request.golden_sha256))
                golden = await self._fetch(job, "golden arrays", request.golden_sha256, request.golden_size_bytes)
            while True:
                try:
                    return await self._profiler.measure(
                        request,
                        artifact_path=artifact,
                        golden_path=golden,
                        on_progress=lambda stage: self._tell(job.job_id, stage),
                    )
                except BusyError as error:
                    self._tell(job.job_id, f"waiting: {error.message}")
                    await asyncio.sleep(_BUSY_RETRY_S)

    async def _fetch(self, job: RememberedJob, what: str, sha256: str, size_bytes: int) -> Path:
        """The file; a connection that is lost is waited for, as long as it brings something now and then."""
        received_bytes = 0
        cuts = 0

        def tell(present_bytes: int, total_bytes: int) -> None:
            nonlocal received_bytes
            received_bytes = present_bytes
            self._tell(job.job_id, f"fetching {what}: {present_bytes} of {total_bytes} bytes")

        while True:
            before_bytes = received_bytes
            try:
                path = await self._artifacts.fetch(sha256, size_bytes, on_progress=tell)
            except UnreachableError as error:
                cuts = 0 if received_bytes > before_bytes else cuts + 1
                if cuts >= _MAXIMUM_CUTS:
                    raise
                _log.info("job %s: %s", job.job_id, error.message)
                await asyncio.sleep(self._backoff.next_s())
            else:
                self._backoff.reset()
                return path

    async def _deliver(self, job_id: str, measurement: Measurement) -> None:
        """Puts the result into the outbox, as soon as the disk takes it."""
        while True:
            try:
                self._finish(job_id, measurement)
            except NoSpaceError as error:
                _log.error("the result of job %s waits for space: %s", job_id, error.message)
                await asyncio.sleep(_STORAGE_RETRY_S)
            else:
                return

    def _finish(self, job_id: str, measurement: Measurement) -> None:
        message = WaitingMessage(
            id=measurement.result_id,
            kind=MessageKind.JOB_RESULT,
            subject=job_id,
            payload=encode(JobResult(job_id=job_id, measurement=measurement)),
        )
        self._outbox.put(message, within=lambda connection: self._store.forget_within(connection, job_id))
        _log.info("job %s: %s%s", job_id, measurement.outcome.value, measurement.detail and f", {measurement.detail}")

    def _under_way(self) -> tuple[str, ...]:
        running = () if self._running is None else (self._running.job_id,)
        return (*running, *(job.job_id for job in self._queue))

    def _tell(self, job_id: str, stage: str) -> None:
        self._progress = JobProgress(job_id=job_id, stage=stage)
        self.progressed.set()


def _measurement(request: MeasureRequest, outcome: Outcome, detail: str) -> Measurement:
    return Measurement(
        result_id=uuid.uuid4().hex,
        artifact_sha256=request.artifact_sha256,
        outcome=outcome,
        measured_at=datetime.now(tz=timezone.utc),
        detail=detail,
    )


def _unfinished(request: MeasureRequest, why: str) -> Measurement:
    """A job given back: the orchestrator may ask again."""
    return _measurement(request, Outcome.CANCELLED, why)


def _unsupported(job_id: str) -> Measurement:
    nothing = MeasureRequest(artifact_sha256="", artifact_size_bytes=0, artifact_format="")
    _log.warning("job %s is of a kind that this agent does not know", job_id)
    return _measurement(nothing, Outcome.UNSUPPORTED, "this agent does not know this kind of work; update it")

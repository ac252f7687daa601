"""How a search has a device measure something: a job in the database, and patience."""

from __future__ import annotations

import uuid
from collections.abc import Callable

from orchestrator.clock import Clock
from orchestrator.errors import NotFoundError, OperationError
from orchestrator.events import Events
from orchestrator.fleet import lease
from orchestrator.fleet.job import Job, JobState
from orchestrator.fleet.measurement import Measurement, MeasureRequest
from orchestrator.storage.database import Database
from orchestrator.storage.transaction import Transaction

# Events wake a waiter; this often it looks by itself.
_LOOK_AGAIN_S = 5.0


class Measuring:
    """Asks devices for measurements.

    Args:
        database: Where jobs and measurements are.
        events: Woken are ``job/<id>`` and ``device/<id>``.
        online: Whether a device is connected; only for what people are told.
        clock: The present.
    """

    def __init__(self, *, database: Database, events: Events, online: Callable[[str], bool], clock: Clock) -> None:
        self._database = database
        self._events = events
        self._online = online
        self._clock = clock

    async def measure(
        self, *, key: str, device_id: str, request: MeasureRequest, on_progress: Callable[[str], None]
    ) -> Measurement:
        """What the device measured, whatever the outcome. Waits as long as it takes.

        Crash-only: asked again with the same key, after a restart too, it finds the finished result or goes on waiting
        for the same job.

        Args:
            key: Names the purpose, and with it the job.
            device_id: Who measures.
            request: What and how.
            on_progress: Is told what happens, in a few words, whenever that changes.

        Raises:
            OperationError: The device was removed (reason ``DEVICE_REMOVED``), the job was given up after too many
                attempts (``MEASUREMENT_FAILED``), or cancelled (``MEASUREMENT_CANCELLED``).
        """
        job_id = await self._database.run(lambda tx: self._job(tx, key, device_id, request).id)
        with self._events.subscribe(f"job/{job_id}", f"device/{device_id}") as subscription:
            self._events.publish(f"device/{device_id}")
            told = ""
            while True:
                job, name, measurement = await self._database.run(lambda tx: _look(tx, job_id))
                if measurement is not None:
                    return measurement
                if job.state.final or name is None:
                    raise _failure(job)
                stage = self._stage(job, name)
                if stage != told:
                    told = stage
                    on_progress(stage)
                await subscription.wait(_LOOK_AGAIN_S)

    async def cancel(self, key: str) -> None:
        """Ends the job of this key, where there is one that has not ended; the device is told to stop."""

        def work(tx: Transaction) -> Job | None:
            job = tx.jobs.by_key(key)
            if job is None or job.state.final:
                return None
            tx.jobs.update(lease.cancelled(job), expecting=job.state)
            return job

        job = await self._database.run(work)
        if job is not None:
            self._events.publish(f"job/{job.id}")
            self._events.publish(f"device/{job.device_id}")

    def _job(self, tx: Transaction, key: str, device_id: str, request: MeasureRequest) -> Job:
        job = tx.jobs.by_key(key)
        if job is None:
            job = Job(
                id=str(uuid.uuid4()),
                key=key,
                device_id=device_id,
                request=request,
                state=JobState.QUEUED,
                created_at=self._clock(),
            )
            tx.jobs.add(job)
        return job

    def _stage(self, job: Job, name: str) -> str:
        if not self._online(job.device_id):
            return f"waits for {name}, which is offline"
        if job.state is JobState.QUEUED:
            return f"waits for {name}"
        return f"{name}: {job.progress or 'starting'}"


def _look(tx: Transaction, job_id: str) -> tuple[Job, str | None, Measurement | None]:
    """The job, the name of its device (None: removed), and the result of a job that is done."""
    job = tx.jobs.get(job_id)
    measurement = tx.measurements.get(job.result_id) if job.state is JobState.DONE else None
    try:
        name: str | None = tx.devices.get(job.device_id).name
    except NotFoundError:
        name = None
    return job, name, measurement


def _failure(job: Job) -> OperationError:
    if job.state is JobState.CANCELLED:
        return OperationError("the measurement was cancelled", reason="MEASUREMENT_CANCELLED")
    if job.state is JobState.FAILED:
        return OperationError(f"the measurement failed: {job.error}", reason="MEASUREMENT_FAILED")
    return OperationError(
        "the device that was to measure was removed from the fleet",
        hint="run the search again on the devices that are left",
        reason="DEVICE_REMOVED",
    )

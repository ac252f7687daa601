"""What a device should be told now, from what is in the database: level-triggered, so no stream is owed anything."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from orchestrator.clock import Clock
from orchestrator.errors import NotFoundError, UnavailableError
from orchestrator.events import Events
from orchestrator.fleet import lease
from orchestrator.fleet.job import Job, JobState
from orchestrator.fleet.measurement import Measurement, Outcome
from orchestrator.fleet.sessions import Session, session_device
from orchestrator.storage.database import Database
from orchestrator.storage.transaction import Transaction

_LOG = logging.getLogger(__name__)

_EXPIRY_INTERVAL_S = 5.0


class Desired(Protocol):
    """The one release that a device should run."""

    @property
    def deployment_id(self) -> str:
        """The device's part in the rollout."""

    @property
    def manifest_path(self) -> str:
        """Path of the manifest in the release repository."""

    @property
    def manifest_sha256(self) -> str:
        """Hash of the manifest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What a device should be told now."""

    # A job that was just leased to it.
    assignment: Job | None
    # Jobs that it should stop.
    cancellations: tuple[str, ...]
    # None: whatever it runs may stay.
    desired: Desired | None


class Dispatcher:
    """Hands jobs to devices and takes their results. One job at a time for a device.

    Args:
        database: Where jobs and measurements are.
        events: Woken are ``job/<id>`` when a job has moved, and ``device/<id>`` when it is to be looked at again.
        desired: The release that a device should run.
        clock: The present.
    """

    def __init__(
        self,
        *,
        database: Database,
        events: Events,
        desired: Callable[[str], Awaitable[Desired | None]],
        clock: Clock,
    ) -> None:
        self._database = database
        self._events = events
        self._desired = desired
        self._clock = clock

    async def resume(self, session: Session, job_ids: Collection[str]) -> None:
        """Settles what the device held when its stream began: what it names is renewed, what it forgot goes back.

        Raises:
            UnauthenticatedError: The device was removed.
            UnavailableError: A newer stream of it has begun.
        """
        now = self._clock()

        def work(tx: Transaction) -> list[str]:
            session_device(tx, session)
            forgotten = [job for job in tx.jobs.leased(session.device_id) if job.id not in job_ids]
            for job in forgotten:
                tx.jobs.update(lease.returned(job, why="the device started anew and knew nothing of it"))
            return [*_renew(tx, session.device_id, job_ids, now), *(job.id for job in forgotten)]

        self._publish(await self._database.run(work))

    async def renew(self, session: Session, job_ids: Collection[str]) -> None:
        """Notes that the device still works on these jobs; nothing is looked up where there are none.

        Raises:
            UnauthenticatedError: The device was removed.
            UnavailableError: A newer stream of it has begun.
        """
        if not job_ids:
            return
        now = self._clock()

        def work(tx: Transaction) -> list[str]:
            session_device(tx, session)
            return _renew(tx, session.device_id, job_ids, now)

        self._publish(await self._database.run(work))

    async def progress(self, session: Session, job_id: str, stage: str) -> None:
        """Notes what the device is doing.

        Raises:
            UnauthenticatedError: The device was removed.
            UnavailableError: A newer stream of it has begun.
        """
        now = self._clock()

        def work(tx: Transaction) -> list[str]:
            session_device(tx, session)
            job = _own_job(tx, session.device_id, job_id)
            if job is None or job.state.final:
                return []
            tx.jobs.update(replace(lease.renewed(job, now=now), progress=stage))
            return [job.id]

        self._publish(await self._database.run(work))

    async def finish(self, session: Session, job_id: str, measurement: Measurement) -> None:
        """Takes the result of a job, once. After this returns, the device may forget it.

        A result that nobody asked for, or of another device's job, changes nothing; neither does one that came before.

        Raises:
            UnauthenticatedError: The device was removed.
            UnavailableError: A newer stream of it has begun.
        """

        def work(tx: Transaction) -> list[str]:
            device = session_device(tx, session)
            job = _own_job(tx, device.id, job_id)
            if job is None:
                _LOG.warning("device %s sent a result for job %r, which is not its own", device.name, job_id)
                return []
            if job.state.final:
                return []
            tx.jobs.update(_settled(tx, job, measurement))
            return [job.id]

        self._publish(await self._database.run(work))

    async def refuse(self, session: Session, job_id: str, why: str) -> None:
        """Ends a job whose result cannot be read.

        Raises:
            UnauthenticatedError: The device was removed.
            UnavailableError: A newer stream of it has begun.
        """

        def work(tx: Transaction) -> list[str]:
            device = session_device(tx, session)
            job = _own_job(tx, device.id, job_id)
            if job is None or job.state.final:
                return []
            tx.jobs.update(lease.failed(job, why=f"device {device.name} sent a result that cannot be used: {why}"))
            return [job.id]

        self._publish(await self._database.run(work))

    async def orders(self, session: Session, held: Collection[str]) -> Orders:
        """What the device should be told now; a job that it contains is leased from now on.

        Args:
            session: The device's stream.
            held: Jobs that the device is believed to work on.

        Raises:
            UnauthenticatedError: The device was removed.
            UnavailableError: A newer stream of it has begun.
        """
        now = self._clock()

        def work(tx: Transaction) -> tuple[Job | None, tuple[str, ...], list[str]]:
            session_device(tx, session)
            moved = _expire(tx, tuple(job for job in tx.jobs.leased(session.device_id) if _passed(job, now)))
            unwanted = tuple(job_id for job_id in held if _unwanted(tx, session.device_id, job_id))
            busy = bool(tx.jobs.leased(session.device_id))
            waiting = () if busy else tx.jobs.queued(session.device_id)
            if not waiting:
                return None, unwanted, moved
            job = lease.leased(waiting[0], now=now)
            tx.jobs.update(job, expecting=JobState.QUEUED)
            return job, unwanted, [*moved, job.id]

        assignment, cancellations, moved = await self._database.run(work)
        self._publish(moved)
        desired = await self._desired(session.device_id)
        return Orders(assignment=assignment, cancellations=cancellations, desired=desired)

    async def watch_leases(self) -> None:
        """Takes back, for ever, what was leased to devices that went silent."""
        while True:
            now = self._clock()

            def work(tx: Transaction, now: datetime = now) -> tuple[Job, ...]:
                expired = tx.jobs.expired(now)
                _expire(tx, expired)
                return expired

            try:
                expired = await self._database.run(work)
                self._publish([job.id for job in expired])
                # A device that is connected after all is given its job again.
                for device_id in {job.device_id for job in expired}:
                    self._events.publish(f"device/{device_id}")
            except UnavailableError as error:
                _LOG.warning("leases were not looked at: %s", error.message)
            await asyncio.sleep(_EXPIRY_INTERVAL_S)

    def _publish(self, job_ids: Collection[str]) -> None:
        for job_id in job_ids:
            self._events.publish(f"job/{job_id}")


def _renew(tx: Transaction, device_id: str, job_ids: Collection[str], now: datetime) -> list[str]:
    """Renews those of the jobs that are the device's and not over; the ids of those that it took from the queue."""
    retaken: list[str] = []
    for job_id in job_ids:
        job = _own_job(tx, device_id, job_id)
        if job is None or job.state.final:
            continue
        if job.state is JobState.QUEUED:
            retaken.append(job.id)
        tx.jobs.update(lease.renewed(job, now=now))
    return retaken


def _expire(tx: Transaction, jobs: tuple[Job, ...]) -> list[str]:
    for job in jobs:
        tx.jobs.update(lease.returned(job, why="the device went silent"), expecting=JobState.LEASED)
    return [job.id for job in jobs]


def _settled(tx: Transaction, job: Job, measurement: Measurement) -> Job:
    """What becomes of the job by this result, which is stored where it is one."""
    if measurement.artifact_sha256 != job.request.artifact_sha256:
        return lease.failed(job, why="the device measured another artifact than it was asked to")
    if measurement.outcome is Outcome.CANCELLED:
        # Nobody here cancelled it, or the job would be over.
        return lease.returned(job, why=measurement.detail or "the device stopped")
    if not tx.measurements.add_once(measurement):
        return lease.failed(job, why="the device sent a result under an id that another result has")
    return lease.done(job, measurement)


def _unwanted(tx: Transaction, device_id: str, job_id: str) -> bool:
    """Whether a device that works on the job should stop. The result of one that is done only waits for its receipt."""
    job = _own_job(tx, device_id, job_id)
    return job is None or job.state in (JobState.CANCELLED, JobState.FAILED)


def _own_job(tx: Transaction, device_id: str, job_id: str) -> Job | None:
    try:
        job = tx.jobs.get(job_id)
    except NotFoundError:
        return None
    return job if job.device_id == device_id else None


def _passed(job: Job, now: datetime) -> bool:
    return job.lease_expires_at is not None and job.lease_expires_at <= now

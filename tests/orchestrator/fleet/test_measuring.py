"""Jobs and leases on a database alone: restarts, silence, and streams that cross."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from orchestrator.errors import FleetfitError, OperationError, UnauthenticatedError, UnavailableError
from orchestrator.events import Events
from orchestrator.fleet import lease
from orchestrator.fleet.device import Device
from orchestrator.fleet.dispatcher import Dispatcher
from orchestrator.fleet.job import Job, JobState
from orchestrator.fleet.measurement import Measurement, MeasureRequest
from orchestrator.fleet.measuring import Measuring
from orchestrator.fleet.sessions import Session, Sessions
from orchestrator.storage.database import Database
from tests.orchestrator.storage.records import NOW, a_device, a_job, a_measurement

REQUEST = MeasureRequest(artifact_sha256="a" * 64, artifact_size_bytes=1000, artifact_format="onnx")


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


class Orchestra:
    """The fleet's parts on one database; a second one on the same database is the orchestrator after a restart."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.clock = Clock()
        self.events = Events()
        self.sessions = Sessions(database=database, events=self.events, clock=self.clock)
        self.dispatcher = Dispatcher(database=database, events=self.events, desired=_nothing, clock=self.clock)
        self.measuring = Measuring(database=database, events=self.events, online=self.sessions.online, clock=self.clock)

    def measure(self, device: Device, key: str = "key") -> asyncio.Task[Measurement]:
        return asyncio.create_task(
            self.measuring.measure(key=key, device_id=device.id, request=REQUEST, on_progress=lambda _: None)
        )

    async def open(self, device: Device) -> Session:
        return await self.sessions.open(
            device_id=device.id,
            key_fingerprint=device.key_fingerprint,
            certificate_expires_at=NOW + timedelta(days=30),
            facts=device.facts,
            active_release=None,
        )

    async def job(self, key: str = "key") -> Job | None:
        return await self.database.run(lambda tx: tx.jobs.by_key(key))

    async def queued(self, key: str = "key") -> Job:
        async with asyncio.timeout(10):
            while (job := await self.job(key)) is None:
                await asyncio.sleep(0.01)
            return job


async def _nothing(device_id: str) -> None:
    return None


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database.open(f"sqlite:///{tmp_path}/fleetfit.db")
    yield opened
    opened.close()


@pytest.fixture
def device(database: Database) -> Device:
    added = a_device()
    database.run_blocking(lambda tx: tx.devices.add(added))
    return added


def test_after_a_restart_the_same_key_goes_on_waiting_and_finds_the_result(database: Database, device: Device) -> None:
    async def scenario() -> None:
        killed = Orchestra(database)
        waiting = killed.measure(device)
        job = await killed.queued()
        waiting.cancel()

        restarted = Orchestra(database)
        again = restarted.measure(device)
        session = await restarted.open(device)
        orders = await restarted.dispatcher.orders(session, held=())
        assert orders.assignment is not None
        assert orders.assignment.id == job.id
        await restarted.dispatcher.finish(session, job.id, a_measurement(result_id="r-1", device_id=device.id))
        assert (await again).result_id == "r-1"

        later = Orchestra(database)
        assert (await later.measure(device)).result_id == "r-1"

    asyncio.run(scenario())


def test_after_a_restart_a_device_that_kept_its_job_keeps_it(database: Database, device: Device) -> None:
    async def scenario() -> None:
        killed = Orchestra(database)
        waiting = killed.measure(device)
        job = await killed.queued()
        await killed.dispatcher.orders(await killed.open(device), held=())
        waiting.cancel()

        restarted = Orchestra(database)
        again = restarted.measure(device)
        session = await restarted.open(device)
        await restarted.dispatcher.resume(session, (job.id,))
        assert (await restarted.dispatcher.orders(session, held=(job.id,))).assignment is None
        kept = await restarted.job()
        assert kept is not None
        assert (kept.state, kept.attempt) == (JobState.LEASED, 1)
        await restarted.dispatcher.finish(session, job.id, a_measurement(device_id=device.id))
        await again

    asyncio.run(scenario())


def test_what_was_leased_to_a_device_that_went_silent_is_taken_back_and_in_the_end_given_up(
    database: Database, device: Device
) -> None:
    async def scenario() -> None:
        orchestra = Orchestra(database)
        waiting = orchestra.measure(device)
        await orchestra.queued()
        watching = None
        for attempt in range(1, lease.MAXIMUM_ATTEMPTS + 1):
            session = await orchestra.open(device)
            orders = await orchestra.dispatcher.orders(session, held=())
            assert orders.assignment is not None
            assert orders.assignment.attempt == attempt
            orchestra.sessions.release(session)
            orchestra.clock.now += lease.LEASE + timedelta(seconds=1)
            watching = asyncio.create_task(orchestra.dispatcher.watch_leases())
            await _until(orchestra, lambda job: job.state is not JobState.LEASED)
            watching.cancel()
        with pytest.raises(OperationError, match="given up after 5 attempts: the device went silent"):
            await waiting

    asyncio.run(scenario())


async def _until(orchestra: Orchestra, holds: object) -> None:
    async with asyncio.timeout(10):
        while True:
            job = await orchestra.job()
            assert job is not None
            if holds(job):  # type: ignore[operator]
                return
            await asyncio.sleep(0.01)


def test_a_lease_that_holds_is_left_alone(database: Database, device: Device) -> None:
    async def scenario() -> None:
        orchestra = Orchestra(database)
        held = a_job(device_id=device.id, state=JobState.LEASED, lease_expires_at=NOW + timedelta(seconds=1), attempt=1)
        await database.run(lambda tx: tx.jobs.add(held))
        watching = asyncio.create_task(orchestra.dispatcher.watch_leases())
        await asyncio.sleep(0.1)
        watching.cancel()
        assert await database.run(lambda tx: tx.jobs.get(held.id)) == held

    asyncio.run(scenario())


def test_of_streams_that_cross_the_newest_is_live(database: Database, device: Device) -> None:
    async def scenario() -> None:
        orchestra = Orchestra(database)
        sessions = await asyncio.gather(*(orchestra.open(device) for _ in range(5)))
        newest = max(sessions, key=lambda session: session.epoch)
        for session in sessions:
            if session is newest:
                await orchestra.sessions.check(session)
            else:
                with pytest.raises(UnavailableError) as caught:
                    await orchestra.sessions.check(session)
                assert caught.value.reason == "SESSION_SUPERSEDED"
        # That an older one ends says nothing of the newest.
        orchestra.sessions.release(sessions[0])
        assert orchestra.sessions.online(device.id)
        orchestra.sessions.release(newest)
        assert not orchestra.sessions.online(device.id)

    asyncio.run(scenario())


def test_what_an_older_stream_says_counts_no_more_even_through_another_orchestrator(
    database: Database, device: Device
) -> None:
    async def scenario() -> None:
        one, other = Orchestra(database), Orchestra(database)
        older = await one.open(device)
        waiting = other.measure(device)
        job = await other.queued()
        newer = await other.open(device)
        for attempt in (
            one.dispatcher.orders(older, held=()),
            one.dispatcher.renew(older, (job.id,)),
            one.dispatcher.resume(older, ()),
            one.dispatcher.progress(older, job.id, "timing"),
            one.dispatcher.finish(older, job.id, a_measurement(device_id=device.id)),
            one.dispatcher.refuse(older, job.id, "no"),
            one.sessions.seen(older, None),
            one.sessions.check(older),
        ):
            with pytest.raises(UnavailableError) as caught:
                await attempt
            assert caught.value.reason == "SESSION_SUPERSEDED"
        assert await one.job() == job
        await other.dispatcher.finish(newer, job.id, a_measurement(device_id=device.id))
        await waiting

    asyncio.run(scenario())


def test_a_device_with_another_key_is_not_the_device(database: Database, device: Device) -> None:
    async def scenario() -> FleetfitError:
        orchestra = Orchestra(database)
        with pytest.raises(UnauthenticatedError) as caught:
            await orchestra.open(replace(device, key_fingerprint="another"))
        return caught.value

    assert asyncio.run(scenario()).reason == "REENROL"


def test_a_cancelled_wait_leaves_the_job_and_a_cancelled_job_ends_the_wait(database: Database, device: Device) -> None:
    async def scenario() -> None:
        orchestra = Orchestra(database)
        waiting = orchestra.measure(device)
        await orchestra.queued()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        job = await orchestra.job()
        assert job is not None
        assert job.state is JobState.QUEUED
        again = orchestra.measure(device)
        for _ in range(2):
            await orchestra.measuring.cancel("key")
        await orchestra.measuring.cancel("a key that nobody asked for")
        with pytest.raises(OperationError) as caught:
            await again
        assert caught.value.reason == "MEASUREMENT_CANCELLED"

    asyncio.run(scenario())


def test_a_wait_ends_when_the_device_is_removed(database: Database, device: Device) -> None:
    async def scenario() -> None:
        orchestra = Orchestra(database)
        waiting = orchestra.measure(device)
        await orchestra.queued()
        await database.run(lambda tx: tx.devices.remove(device.id))
        orchestra.events.publish(f"device/{device.id}")
        with pytest.raises(OperationError) as caught:
            await waiting
        assert caught.value.reason == "DEVICE_REMOVED"

    asyncio.run(scenario())


def test_a_stream_that_is_revoked_ends_without_waiting_for_the_database(database: Database, device: Device) -> None:
    async def scenario() -> None:
        orchestra = Orchestra(database)
        session = await orchestra.open(device)
        orchestra.sessions.revoke(device.id)
        orchestra.sessions.close_all()
        with pytest.raises(UnauthenticatedError) as caught:
            await asyncio.wait_for(session.wait_closed(), 5)
        # The first reason counts.
        assert caught.value.reason == "REENROL"
        with pytest.raises(UnauthenticatedError):
            orchestra.sessions.check_open(session)

    asyncio.run(scenario())

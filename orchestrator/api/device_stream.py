"""What goes to and fro on a device's stream once it is open."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import timedelta

from fleetfit.v1 import session_pb2

from orchestrator.api.convert.devices import active_release_from_proto
from orchestrator.api.convert.measurements import measurement_from_proto, request_to_proto
from orchestrator.api.convert.rollouts import report_from_proto
from orchestrator.api.convert.scalars import duration, identifier, identifiers, timestamp
from orchestrator.clock import Clock
from orchestrator.errors import InvalidInputError, NotFoundError, PermissionDeniedError
from orchestrator.events import Events
from orchestrator.fleet import lease
from orchestrator.fleet.dispatcher import Desired, Dispatcher
from orchestrator.fleet.job import Job
from orchestrator.fleet.plain_text import plain_text
from orchestrator.fleet.rate_limit import RateLimit
from orchestrator.fleet.sessions import Session, Sessions
from orchestrator.rollouts.controller import RolloutController

_LOG = logging.getLogger(__name__)

HEARTBEAT_INTERVAL = timedelta(seconds=15)

# Events wake the stream; this often it looks by itself, for what another orchestrator on the same database did.
_LOOK_AGAIN_S = 30.0
_MESSAGE_LIMIT_BYTES = 256 * 1024
# In the long run, and at once: a device that says more is read more slowly, and holds up nobody but itself.
_MESSAGES_PER_SECOND = 20.0
_MESSAGES_AT_ONCE = 200
# Responses that wait for a device that does not read; then its messages wait too.
_UNREAD_LIMIT = 64


class DeviceStream:
    """One open stream of one device.

    Messages are taken in by one task; another one looks what the device should be told, whenever something changed or
    some seconds have passed. Nothing is kept here that the database does not know.
    """

    def __init__(
        self,
        session: Session,
        *,
        sessions: Sessions,
        dispatcher: Dispatcher,
        rollouts: RolloutController,
        events: Events,
        clock: Clock,
    ) -> None:
        self._session = session
        self._sessions = sessions
        self._dispatcher = dispatcher
        self._rollouts = rollouts
        self._events = events
        self._clock = clock
        self._responses: asyncio.Queue[session_pb2.ConnectResponse] = asyncio.Queue(_UNREAD_LIMIT)
        # Jobs that the device is believed to work on: those that it was given, and those that it speaks of.
        self._held: set[str] = set()
        self._told_desired: Desired | None = None

    async def responses(
        self,
        requests: AsyncIterator[session_pb2.ConnectRequest],
        *,
        job_ids: tuple[str, ...],
        protocol_version: int,
    ) -> AsyncIterator[session_pb2.ConnectResponse]:
        """Yields what the device shall hear, until it closes its side.

        Args:
            requests: What the device says after its Hello.
            job_ids: The jobs that its Hello named.
            protocol_version: The version that was agreed on.

        Raises:
            FleetfitError: Why this side ended the stream.
        """
        yield self._welcome(protocol_version)
        await self._dispatcher.resume(self._session, job_ids)
        self._held.update(job_ids)
        work = {
            asyncio.create_task(self._take_in(requests)),
            asyncio.create_task(self._direct()),
            asyncio.create_task(self._session.wait_closed()),
        }
        waiting = asyncio.create_task(self._responses.get())
        try:
            while True:
                await asyncio.wait({waiting, *work}, return_when=asyncio.FIRST_COMPLETED)
                ended = [task for task in work if task.done()]
                for task in ended:
                    task.result()
                if ended:
                    return
                yield waiting.result()
                waiting = asyncio.create_task(self._responses.get())
        finally:
            waiting.cancel()
            for task in work:
                task.cancel()
            await asyncio.gather(waiting, *work, return_exceptions=True)

    async def _take_in(self, requests: AsyncIterator[session_pb2.ConnectRequest]) -> None:
        limit = RateLimit(per_second=_MESSAGES_PER_SECOND, burst=_MESSAGES_AT_ONCE)
        async for request in requests:
            await asyncio.sleep(limit.delay_s())
            if request.ByteSize() > _MESSAGE_LIMIT_BYTES:
                raise InvalidInputError(f"a message has {request.ByteSize()} bytes: {_MESSAGE_LIMIT_BYTES} are allowed")
            self._sessions.check_open(self._session)
            await self._take(request)

    async def _take(self, request: session_pb2.ConnectRequest) -> None:
        """Acts on one message. Whatever acts looks first whether the device is still one, in the same transaction."""
        match request.WhichOneof("body"):
            case "heartbeat":
                await self._heartbeat(request.heartbeat)
            case "job_progress":
                job_id = identifier(request.job_progress.job_id, name="job_id")
                await self._dispatcher.progress(self._session, job_id, plain_text(request.job_progress.stage))
            case "job_result":
                await self._job_result(request.job_result)
            case "deployment_report":
                await self._deployment_report(request.deployment_report)
            case "hello":
                raise InvalidInputError("Hello was said twice on one stream")
            case _:
                _LOG.debug("device %s says something that this version does not know", self._session.device_name)

    async def _heartbeat(self, heartbeat: session_pb2.Heartbeat) -> None:
        job_ids = identifiers(heartbeat.job_ids, name="job_ids")
        await self._sessions.seen(self._session, active_release_from_proto(heartbeat.active_release))
        await self._dispatcher.renew(self._session, job_ids)
        if not self._held.issuperset(job_ids):
            self._held.update(job_ids)
            self._look()

    async def _job_result(self, result: session_pb2.JobResult) -> None:
        """Stores the result, then confirms it. One that cannot be read is confirmed too, or it would come for ever."""
        job_id = identifier(result.job_id, name="job_id")
        try:
            measurement = measurement_from_proto(
                result.measurement,
                device_id=self._session.device_id,
                device_class=self._session.device_class,
            )
        except InvalidInputError as error:
            _LOG.warning("device %s sent a result that cannot be used: %s", self._session.device_name, error)
            await self._dispatcher.refuse(self._session, job_id, error.message)
        else:
            await self._dispatcher.finish(self._session, job_id, measurement)
        self._held.discard(job_id)
        receipt = session_pb2.JobResultReceipt(result_id=result.measurement.result_id)
        await self._responses.put(session_pb2.ConnectResponse(job_result_receipt=receipt))
        self._look()

    async def _deployment_report(self, message: session_pb2.DeploymentReport) -> None:
        """Takes the report, then confirms it. One that nobody can use is confirmed too, or it would come for ever."""
        await self._sessions.check(self._session)
        try:
            report = report_from_proto(message)
            await self._rollouts.report(
                device_id=self._session.device_id,
                report_id=report.report_id,
                deployment_id=report.deployment_id,
                state=report.state,
                reason=report.reason,
                active_release=report.active_release,
                reported_at=report.reported_at,
            )
        except (InvalidInputError, NotFoundError, PermissionDeniedError) as error:
            _LOG.warning("device %s sent a report that cannot be used: %s", self._session.device_name, error)
        receipt = session_pb2.DeploymentReceipt(report_id=message.report_id)
        await self._responses.put(session_pb2.ConnectResponse(deployment_receipt=receipt))

    async def _direct(self) -> None:
        """Tells the device what it should know, for as long as the stream lives."""
        with self._events.subscribe(f"device/{self._session.device_id}") as subscription:
            while True:
                self._sessions.check_open(self._session)
                orders = await self._dispatcher.orders(self._session, frozenset(self._held))
                for job_id in orders.cancellations:
                    self._held.discard(job_id)
                    cancellation = session_pb2.JobCancellation(job_id=job_id)
                    await self._responses.put(session_pb2.ConnectResponse(job_cancellation=cancellation))
                if orders.assignment is not None:
                    self._held.add(orders.assignment.id)
                    await self._responses.put(_assignment(orders.assignment))
                if orders.desired is not None and orders.desired != self._told_desired:
                    self._told_desired = orders.desired
                    await self._responses.put(_desired(orders.desired))
                await subscription.wait(_LOOK_AGAIN_S)

    def _look(self) -> None:
        self._events.publish(f"device/{self._session.device_id}")

    def _welcome(self, protocol_version: int) -> session_pb2.ConnectResponse:
        welcome = session_pb2.Welcome(
            protocol_version=protocol_version,
            session_epoch=self._session.epoch,
            heartbeat_interval=duration(HEARTBEAT_INTERVAL.total_seconds()),
            server_time=timestamp(self._clock()),
            device_name=self._session.device_name,
        )
        return session_pb2.ConnectResponse(welcome=welcome)


def _assignment(job: Job) -> session_pb2.ConnectResponse:
    assignment = session_pb2.JobAssignment(
        job_id=job.id,
        attempt=job.attempt,
        lease=duration(lease.LEASE.total_seconds()),
        measure=request_to_proto(job.request),
    )
    return session_pb2.ConnectResponse(job_assignment=assignment)


def _desired(desired: Desired) -> session_pb2.ConnectResponse:
    message = session_pb2.DesiredRelease(
        deployment_id=desired.deployment_id,
        manifest_path=desired.manifest_path,
        manifest_sha256=desired.manifest_sha256,
    )
    return session_pb2.ConnectResponse(desired_release=message)

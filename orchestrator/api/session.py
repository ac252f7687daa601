"""The service behind the one stream that a device keeps open."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
from fleetfit.v1 import session_pb2, session_pb2_grpc

from orchestrator.api.caller import calling_device
from orchestrator.api.convert.devices import active_release_from_proto, facts_from_proto
from orchestrator.api.convert.scalars import identifiers
from orchestrator.api.device_stream import DeviceStream
from orchestrator.clock import Clock
from orchestrator.errors import ConflictError, InvalidInputError, UnavailableError
from orchestrator.events import Events
from orchestrator.fleet.dispatcher import Dispatcher
from orchestrator.fleet.sessions import Sessions
from orchestrator.rollouts.controller import RolloutController

PROTOCOL_VERSION = 1

_HELLO_TIMEOUT_S = 10.0


class SessionService(session_pb2_grpc.SessionServiceServicer):
    """Opens streams. What then goes to and fro is the affair of ``DeviceStream``."""

    def __init__(
        self, *, sessions: Sessions, dispatcher: Dispatcher, rollouts: RolloutController, events: Events, clock: Clock
    ) -> None:
        self._sessions = sessions
        self._dispatcher = dispatcher
        self._rollouts = rollouts
        self._events = events
        self._clock = clock

    async def Connect(
        self, request_iterator: Any, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[session_pb2.ConnectResponse]:
        """The device's stream, until either side ends it."""
        caller = calling_device()
        requests: AsyncIterator[session_pb2.ConnectRequest] = aiter(request_iterator)
        hello = await _hello(requests)
        job_ids = identifiers(hello.job_ids, name="job_ids")
        session = await self._sessions.open(
            device_id=caller.device_id,
            key_fingerprint=caller.key_fingerprint,
            certificate_expires_at=caller.certificate_expires_at,
            facts=facts_from_proto(hello.facts),
            active_release=active_release_from_proto(hello.active_release),
        )
        stream = DeviceStream(
            session,
            sessions=self._sessions,
            dispatcher=self._dispatcher,
            rollouts=self._rollouts,
            events=self._events,
            clock=self._clock,
        )
        try:
            async for response in stream.responses(requests, job_ids=job_ids, protocol_version=PROTOCOL_VERSION):
                yield response
        finally:
            self._sessions.release(session)


async def _hello(requests: AsyncIterator[session_pb2.ConnectRequest]) -> session_pb2.Hello:
    """The first message.

    Raises:
        InvalidInputError: It is another one.
        UnavailableError: It does not come.
        ConflictError: The device speaks no version of the protocol that this server speaks.
    """
    try:
        async with asyncio.timeout(_HELLO_TIMEOUT_S):
            first = await anext(requests, None)
    except TimeoutError as error:
        raise UnavailableError("the stream was opened and nothing was said", reason="HELLO_MISSING") from error
    if first is None or first.WhichOneof("body") != "hello":
        raise InvalidInputError("the first message of a stream must be Hello", reason="HELLO_MISSING")
    hello = first.hello
    if not hello.protocol_minimum <= PROTOCOL_VERSION <= hello.protocol_maximum:
        raise ConflictError(
            f"the device speaks versions {hello.protocol_minimum} to {hello.protocol_maximum} of the protocol, "
            f"and this server version {PROTOCOL_VERSION}",
            hint="bring agent and orchestrator to versions that fit",
            reason="PROTOCOL_UNSUPPORTED",
        )
    return hello

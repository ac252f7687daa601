"""The agent's side of the stream: says what it is, what it does and what it found, and does what it is told."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Protocol

from agent.backoff import Backoff
from agent.concurrency import run_until_first_ends, within
from agent.errors import AgentError, ConfigurationError, RevokedError, UnreachableError
from agent.facts import DeviceFacts
from agent.gateway import Gateway, Stream
from agent.jobs import JobRunner, Taken
from agent.messages import (
    PROTOCOL_MAXIMUM,
    PROTOCOL_MINIMUM,
    Heartbeat,
    Hello,
    Incoming,
    JobAssignment,
    JobCancellation,
    Receipt,
    Welcome,
)
from agent.outbox import MessageKind, Outbox
from agent.update.release import ActiveRelease, DesiredRelease

_log = logging.getLogger(__name__)

# A server that says nothing sensible is still sent a sign of life now and then, and never a flood.
_HEARTBEAT_MINIMUM_S = 0.05
_HEARTBEAT_MAXIMUM_S = 300.0
_HEARTBEAT_DEFAULT_S = 20.0
# From here on a wrong clock makes certificates and signatures look expired.
_CLOCK_TOLERANCE_S = 300.0


class ReleaseUpdater(Protocol):
    """What the session needs of ``agent.update.updater.Updater``."""

    async def desire(self, desired: DesiredRelease) -> None:
        """Notes what the orchestrator wants; the work goes on in the background."""
        ...

    def active(self) -> ActiveRelease | None:
        """What this device really serves."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How patient a session is; times in seconds."""

    # From the first word to the answer, the connection included.
    welcome_s: float = 20.0
    # After the orchestrator refused this device or this agent: it will hardly change its mind at once.
    refused_s: float = 300.0
    # A connection that lasted so long was a good one: the next waits are short again.
    healthy_s: float = 60.0
    # A message without a receipt is sent again.
    receipt_s: float = 60.0
    # Progress is for people: they need it a few times a second at most.
    progress_s: float = 0.25


class SessionObserver(Protocol):
    """Whoever wants to know how the session is."""

    def connected(self, session_epoch: int) -> None:
        """The orchestrator has welcomed this device."""
        ...

    def disconnected(self, problem: str) -> None:
        """There is no stream any more, and why."""
        ...


class Session:
    """Keeps one stream open, for ever; each stream is fenced by the epoch that the orchestrator gives it.

    Only one stream exists at a time, and whatever an older one was told has been handled, or dropped with it, before
    the next begins.

    Args:
        gateway: The way to the orchestrator.
        facts: What the device says of itself.
        boot_id: The kernel's name for this boot.
        jobs: Takes assignments.
        outbox: What must arrive.
        updater: Takes the desired release.
        observer: Told of every beginning and end.
        backoff: Waits between tries.
        timing: How patient it is.
    """

    def __init__(
        self,
        *,
        gateway: Gateway,
        facts: DeviceFacts,
        boot_id: str,
        jobs: JobRunner,
        outbox: Outbox,
        updater: ReleaseUpdater,
        observer: SessionObserver,
        backoff: Backoff | None = None,
        timing: Timing | None = None,
    ) -> None:
        self._gateway = gateway
        self._facts = facts
        self._boot_id = boot_id
        self._jobs = jobs
        self._outbox = outbox
        self._updater = updater
        self._observer = observer
        self._backoff = backoff or Backoff()
        self._timing = timing or Timing()
        # When each waiting message was last sent on the stream that is open.
        self._sent_at_s: dict[str, float] = {}

    async def run(self) -> None:
        """Talks to the orchestrator until it is cancelled; whatever ends a stream, another one follows."""
        while True:
            begun_s = time.monotonic()
            try:
                await self._converse()
                wait_s = 0.0
            except (RevokedError, ConfigurationError) as error:
                wait_s = self._timing.refused_s
                _log.error("%s (%s); trying again in %.0f s", error.message, error.hint, wait_s)
                self._observer.disconnected(error.message)
            except UnreachableError as error:
                if time.monotonic() - begun_s >= self._timing.healthy_s:
                    self._backoff.reset()
                wait_s = self._backoff.next_s()
                _log.warning("%s; trying again in %.1f s", error.message, wait_s)
                self._observer.disconnected(error.message)
            await asyncio.sleep(wait_s)

    async def _converse(self) -> None:
        """One stream, from the first word to its end: an error, or a renewed certificate that wants a new one."""
        async with self._gateway.stream() as stream:
            welcome = await self._greet(stream)
            self._gateway.welcomed()
            self._sent_at_s.clear()
            self._observer.connected(welcome.session_epoch)
            interval_s = min(max(welcome.heartbeat_interval_s, _HEARTBEAT_MINIMUM_S), _HEARTBEAT_MAXIMUM_S)
            await run_until_first_ends(
                self._obey(stream),
                self._beat(stream, interval_s if welcome.heartbeat_interval_s else _HEARTBEAT_DEFAULT_S),
                self._empty_outbox(stream),
                self._tell_progress(stream),
                self._gateway.identity_renewed(),
            )
        _log.info("connecting anew, with the renewed certificate")

    async def _greet(self, stream: Stream) -> Welcome:
        async def exchange() -> Incoming | None:
            await stream.send(
                Hello(
                    facts=self._facts,
                    boot_id=self._boot_id,
                    job_ids=self._jobs.job_ids(),
                    active_release=self._updater.active(),
                )
            )
            return await stream.receive()

        try:
            answer = await within(exchange(), timeout_s=self._timing.welcome_s)
        except asyncio.TimeoutError as error:
            raise UnreachableError(f"the orchestrator at {self._gateway.address} does not answer") from error
        if not isinstance(answer, Welcome):
            raise ConfigurationError("the orchestrator's first word is no welcome", hint="update the agent")
        if not PROTOCOL_MINIMUM <= answer.protocol_version <= PROTOCOL_MAXIMUM:
            raise ConfigurationError(
                f"the orchestrator speaks protocol version {answer.protocol_version}, this agent"
                f" {PROTOCOL_MINIMUM} to {PROTOCOL_MAXIMUM}",
                hint="bring agent and orchestrator to versions that fit",
            )
        _log.info("connected to %s as '%s', epoch %d", self._gateway.address, answer.device_name, answer.session_epoch)
        _check_clock(answer)
        return answer

    async def _obey(self, stream: Stream) -> None:
        while True:
            message = await stream.receive()
            try:
                await self._handle(message)
            except AgentError as error:
                # What cannot be written down is not accepted: the orchestrator will ask again.
                _log.error("cannot take '%s': %s", type(message).__name__, error.message)

    async def _handle(self, message: Incoming | None) -> None:
        if isinstance(message, JobAssignment):
            taken = self._jobs.take(message)
            _log.info("job %s, attempt %d: %s", message.job_id, message.attempt, taken.value)
            if taken is Taken.DONE:
                self._send_again(message.job_id)
        elif isinstance(message, JobCancellation):
            _log.info("job %s is cancelled", message.job_id)
            self._jobs.cancel(message.job_id)
        elif isinstance(message, Receipt):
            self._outbox.remove(message.id)
            self._sent_at_s.pop(message.id, None)
        elif isinstance(message, DesiredRelease):
            await self._updater.desire(message)
        else:
            _log.debug("a message that this agent does not know, or a second welcome")

    def _send_again(self, job_id: str) -> None:
        for message in self._outbox.waiting():
            if message.kind is MessageKind.JOB_RESULT and message.subject == job_id:
                self._sent_at_s.pop(message.id, None)
        self._outbox.changed.set()

    async def _beat(self, stream: Stream, interval_s: float) -> None:
        while True:
            await asyncio.sleep(interval_s)
            await stream.send(Heartbeat(job_ids=self._jobs.job_ids(), active_release=self._updater.active()))

    async def _empty_outbox(self, stream: Stream) -> None:
        """Sends every waiting message once, in order, and again when its receipt is overdue."""
        while True:
            self._outbox.changed.clear()
            for message in self._outbox.waiting():
                sent_s = self._sent_at_s.get(message.id)
                if sent_s is None or time.monotonic() - sent_s >= self._timing.receipt_s:
                    self._sent_at_s[message.id] = time.monotonic()
                    if not await stream.send_encoded(message.payload):
                        # Damage that the database itself cannot see. Without this it would be met again for ever.
                        _log.error("message %s is damaged and cannot be sent: dropped", message.id)
                        self._outbox.remove(message.id)
            with contextlib.suppress(asyncio.TimeoutError):
                await within(self._outbox.changed.wait(), timeout_s=self._timing.receipt_s if self._sent_at_s else None)

    async def _tell_progress(self, stream: Stream) -> None:
        while True:
            await self._jobs.progressed.wait()
            progress = self._jobs.take_progress()
            if progress is not None:
                await stream.send(progress)
            await asyncio.sleep(self._timing.progress_s)


def _check_clock(welcome: Welcome) -> None:
    if welcome.server_time is None:
        return
    offset_s = (datetime.now(tz=timezone.utc) - welcome.server_time).total_seconds()
    if abs(offset_s) > _CLOCK_TOLERANCE_S:
        _log.warning("this device's clock and the orchestrator's differ by %.0f s: set the clock", abs(offset_s))

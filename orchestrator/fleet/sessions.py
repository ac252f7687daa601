"""The live streams of devices: one a device, the newest wins, and a removed device has none."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import NoReturn

from orchestrator.clock import Clock
from orchestrator.errors import FleetfitError, NotFoundError, UnauthenticatedError, UnavailableError
from orchestrator.events import Events
from orchestrator.fleet.device import ActiveRelease, Device, DeviceFacts
from orchestrator.fleet.rate_limit import RateLimit, RateLimits
from orchestrator.storage.database import Database
from orchestrator.storage.transaction import Transaction

_LOG = logging.getLogger(__name__)

# A device that is heard of every few seconds is noted that often.
_SEEN_EVERY = timedelta(seconds=30)


@dataclass(slots=True, kw_only=True, eq=False)
class Session:
    """One stream of one device."""

    device_id: str
    device_name: str
    device_class: str
    key_fingerprint: str
    # Grows with each stream of the device.
    epoch: int
    certificate_expires_at: datetime
    _ended: asyncio.Event = field(default_factory=asyncio.Event)
    _error: FleetfitError | None = None

    def close(self, error: FleetfitError) -> None:
        """Ends the stream; the device is told ``error``. The first reason counts."""
        self._error = self._error or error
        self._ended.set()

    @property
    def error(self) -> FleetfitError | None:
        """Why the stream was ended; None while it lives."""
        return self._error

    async def wait_closed(self) -> NoReturn:
        """Waits until the stream is ended from this side, and raises why."""
        await self._ended.wait()
        assert self._error is not None  # noqa: S101 - close() sets it first
        raise self._error


def session_device(tx: Transaction, session: Session) -> Device:
    """The device that speaks through ``session``, looked up for each message: it may have been removed meanwhile.

    Raises:
        UnauthenticatedError: The device was removed, or given another key (reason ``REENROL``).
        UnavailableError: A newer stream of the device has begun (reason ``SESSION_SUPERSEDED``).
    """
    device = enrolled_device(tx, session.device_id, session.key_fingerprint)
    if device.session_epoch != session.epoch:
        raise _superseded(device.name)
    return device


def enrolled_device(tx: Transaction, device_id: str, key_fingerprint: str) -> Device:
    """The device with this id and key. The first call with a renewed key makes it the device's only one.

    Raises:
        UnauthenticatedError: It was removed, or given another key (reason ``REENROL``).
    """
    try:
        device = tx.devices.get(device_id)
    except NotFoundError as error:
        raise removed() from error
    if device.key_fingerprint == key_fingerprint:
        return device
    if not device.next_key_fingerprint or device.next_key_fingerprint != key_fingerprint:
        raise removed()
    renewed = replace(device, key_fingerprint=key_fingerprint, next_key_fingerprint="")
    tx.devices.update(renewed)
    _LOG.info("device %s (%s) uses its renewed key", device.name, device.id)
    return renewed


def removed() -> UnauthenticatedError:
    """What a device hears that was removed from the fleet."""
    return UnauthenticatedError(
        "this device was removed from the fleet", hint="join again with a new token", reason="REENROL"
    )


class Sessions:
    """Who is connected. The epochs are in the database, so that they also hold between two orchestrators."""

    def __init__(self, *, database: Database, events: Events, clock: Clock) -> None:
        self._database = database
        self._events = events
        self._clock = clock
        self._live: dict[str, Session] = {}
        self._openings = RateLimits(lambda: RateLimit(per_second=0.5, burst=30))

    async def open(
        self,
        *,
        device_id: str,
        key_fingerprint: str,
        certificate_expires_at: datetime,
        facts: DeviceFacts,
        active_release: ActiveRelease | None,
    ) -> Session:
        """A new stream of a device. An older one is closed.

        Raises:
            UnauthenticatedError: The device was removed, or given another key.
            UnavailableError: The device opens streams faster than anyone needs to (reason ``RATE_LIMITED``).
        """
        if not self._openings.allows(device_id):
            raise UnavailableError(
                "this device opens streams too often", hint="wait before trying again", reason="RATE_LIMITED"
            )
        now = self._clock()

        def work(tx: Transaction) -> Session:
            device = enrolled_device(tx, device_id, key_fingerprint)
            tx.devices.update(replace(device, facts=facts, active_release=active_release))
            return Session(
                device_id=device_id,
                device_name=device.name,
                device_class=facts.device_class(),
                key_fingerprint=key_fingerprint,
                epoch=tx.devices.begin_session(device_id, now),
                certificate_expires_at=certificate_expires_at,
            )

        session = await self._database.run(work)
        current = self._live.get(device_id)
        if current is not None and current.epoch > session.epoch:
            session.close(_superseded(session.device_name))
        else:
            if current is not None:
                current.close(_superseded(session.device_name))
            self._live[device_id] = session
        self._events.publish(f"device/{device_id}")
        _LOG.info("device %s is connected, epoch %d", session.device_name, session.epoch)
        return session

    def release(self, session: Session) -> None:
        """Notes that the stream has ended."""
        if self._live.get(session.device_id) is session:
            del self._live[session.device_id]
            _LOG.info("device %s is gone: %s", session.device_name, session.error or "it left")
        self._events.publish(f"device/{session.device_id}")

    async def seen(self, session: Session, active_release: ActiveRelease | None) -> None:
        """Notes that the device was heard of, and what it serves.

        Raises:
            UnauthenticatedError: The device was removed.
            UnavailableError: A newer stream of it has begun.
        """
        now = self._clock()

        def work(tx: Transaction) -> None:
            device = session_device(tx, session)
            quiet = device.last_seen_at is None or now - device.last_seen_at >= _SEEN_EVERY
            if quiet or device.active_release != active_release:
                tx.devices.update(replace(device, last_seen_at=now, active_release=active_release))

        await self._database.run(work)

    def check_open(self, session: Session) -> None:
        """Makes sure, without a look at the database, that the stream may go on.

        Raises:
            FleetfitError: Why it was closed.
            UnauthenticatedError: The device's certificate has expired.
        """
        if session.error is not None:
            raise session.error
        if session.certificate_expires_at <= self._clock():
            raise UnauthenticatedError(
                "the device's certificate has expired", hint="join again with a new token", reason="REENROL"
            )

    async def check(self, session: Session) -> None:
        """Makes sure that what comes through ``session`` still counts.

        Raises:
            UnauthenticatedError: The device was removed, or its certificate has expired.
            UnavailableError: A newer stream of it has begun.
        """
        self.check_open(session)
        await self._database.run(lambda tx: session_device(tx, session))

    def revoke(self, device_id: str) -> None:
        """Ends the stream of a device that was removed, at once."""
        session = self._live.get(device_id)
        if session is not None:
            session.close(removed())

    def close_all(self) -> None:
        """Ends every stream, because the orchestrator stops."""
        for session in self._live.values():
            session.close(UnavailableError("the orchestrator stops", hint="connect again in a while"))

    def online(self, device_id: str) -> bool:
        """Whether the device is connected."""
        return device_id in self._live

    @property
    def count(self) -> int:
        """How many devices are connected."""
        return len(self._live)


def _superseded(name: str) -> UnavailableError:
    return UnavailableError(f"a newer stream of device '{name}' took over", reason="SESSION_SUPERSEDED")

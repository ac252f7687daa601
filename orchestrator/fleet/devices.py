"""The devices of the fleet as people see and manage them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from orchestrator.events import Events
from orchestrator.fleet import lease
from orchestrator.fleet.device import Device
from orchestrator.fleet.job import Job, JobState
from orchestrator.fleet.naming import checked_labels
from orchestrator.fleet.selector import parse_selector
from orchestrator.fleet.sessions import Sessions
from orchestrator.storage.database import Database
from orchestrator.storage.transaction import Transaction

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceStatus:
    """A device and what it is at."""

    device: Device
    online: bool
    # "idle", "offline", "measuring: timing 240 of 400".
    activity: str


class Devices:
    """Lists, labels and removes devices.

    Args:
        database: Where the devices are.
        events: Told of each change, after it was committed.
        sessions: The live streams.
        forget: Ends, in the transaction that removes a device, what it will never report on; the topics that changed.
    """

    def __init__(
        self,
        *,
        database: Database,
        events: Events,
        sessions: Sessions,
        forget: Callable[[Transaction, Device], Iterable[str]],
    ) -> None:
        self._forget = forget
        self._database = database
        self._events = events
        self._sessions = sessions

    async def list(self, selector: str = "") -> tuple[DeviceStatus, ...]:
        """The devices that ``selector`` selects, by name; all where it is empty.

        Raises:
            InvalidInputError: It is not a selector.
        """
        selected = parse_selector(selector or "all")

        def work(tx: Transaction) -> tuple[tuple[Device, ...], tuple[Job, ...]]:
            return tx.devices.list(), tx.jobs.unfinished()

        devices, jobs = await self._database.run(work)
        return tuple(self._status(device, jobs) for device in devices if selected.matches(device))

    async def get(self, name_or_id: str) -> DeviceStatus:
        """One device.

        Raises:
            NotFoundError: There is none of that name or id.
        """

        def work(tx: Transaction) -> tuple[Device, tuple[Job, ...]]:
            device = tx.devices.find(name_or_id)
            return device, tx.jobs.leased(device.id)

        device, jobs = await self._database.run(work)
        return self._status(device, jobs)

    async def label(
        self, name_or_id: str, *, set_labels: Mapping[str, str], remove_labels: Iterable[str]
    ) -> DeviceStatus:
        """The device, with labels set and others taken away.

        Raises:
            NotFoundError: There is none of that name or id.
            InvalidInputError: A label is not one.
        """
        removed = frozenset(remove_labels)

        def work(tx: Transaction) -> None:
            device = tx.devices.find(name_or_id)
            kept = {key: value for key, value in device.labels.items() if key not in removed}
            tx.devices.update(replace(device, labels=checked_labels({**kept, **set_labels})))

        checked_labels(set_labels)
        await self._database.run(work)
        return await self.get(name_or_id)

    async def remove(self, name_or_id: str) -> None:
        """Forgets the device: its certificate counts no more, its stream ends, its jobs fail, no rollout waits for it.

        Its measurements stay.

        Raises:
            NotFoundError: There is none of that name or id.
        """

        def work(tx: Transaction) -> tuple[Device, list[str]]:
            device = tx.devices.find(name_or_id)
            jobs = [*tx.jobs.queued(device.id), *tx.jobs.leased(device.id)]
            for job in jobs:
                tx.jobs.update(lease.failed(job, why=f"device {device.name} was removed from the fleet"))
            changed = self._forget(tx, device)
            tx.devices.remove(device.id)
            return device, [*(f"job/{job.id}" for job in jobs), *changed]

        device, topics = await self._database.run(work)
        _LOG.info("device %s (%s) was removed", device.name, device.id)
        self._sessions.revoke(device.id)
        self._events.publish(f"device/{device.id}")
        for topic in topics:
            self._events.publish(topic)

    def _status(self, device: Device, jobs: Iterable[Job]) -> DeviceStatus:
        online = self._sessions.online(device.id)
        current = next((job for job in jobs if job.device_id == device.id and job.state is JobState.LEASED), None)
        if not online:
            activity = "offline"
        elif current is None:
            activity = "idle"
        else:
            activity = f"measuring: {current.progress or 'starting'}"
        return DeviceStatus(device=device, online=online, activity=activity)

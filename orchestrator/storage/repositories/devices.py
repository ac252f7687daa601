"""Enrolled devices."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import delete, select, update

from orchestrator.errors import ConflictError
from orchestrator.fleet.device import Device
from orchestrator.storage.repository import IdentifiedRepository
from orchestrator.storage.tables import DEVICES

# Only begin_session moves the epoch: an update from an older copy of the device must not bring back an older one.
_EPOCH = frozenset({"session_epoch"})


class DeviceRepository(IdentifiedRepository[Device]):
    """Enrolled devices; names and keys are unique."""

    table = DEVICES
    record_type = Device
    kind = "device"
    listing = "fleetfit device list"

    def find(self, name_or_id: str) -> Device:
        """The device with this id, else the one with this name.

        Raises:
            NotFoundError: There is none.
        """
        columns = DEVICES.c
        found = self._first(columns.id == name_or_id) or self._first(columns.name == name_or_id)
        if found is None:
            raise self._not_found(name_or_id)
        return found

    def by_key(self, fingerprint: str) -> Device | None:
        """The device that holds the key with this fingerprint."""
        return self._first(DEVICES.c.key_fingerprint == fingerprint)

    def list(self) -> tuple[Device, ...]:
        """All devices by name."""
        return self._select(order=DEVICES.c.name)

    def names(self) -> set[str]:
        """The names that are taken."""
        return set(self._connection.scalars(select(DEVICES.c.name)))

    def last_seen(self) -> Mapping[str, datetime | None]:
        """When each device was last heard of, by its id."""
        rows = self._connection.execute(select(DEVICES.c.id, DEVICES.c.last_seen_at))
        return {device_id: last_seen_at for device_id, last_seen_at in rows}

    def update(self, device: Device, *, expecting: int | None = None) -> None:
        """Replaces the device, all but its session epoch, which only ``begin_session`` moves.

        Args:
            device: What it shall be.
            expecting: The session epoch that must still be the device's, where one is given.

        Raises:
            ConflictError: A newer session has begun (reason ``STALE``), or the name is taken.
            NotFoundError: There is no such device.
        """
        conditions = () if expecting is None else (DEVICES.c.session_epoch == expecting,)
        if not self._replace(device, *conditions, keep=_EPOCH):
            message = f"a newer session of device '{device.name}' has begun"
            raise ConflictError(message, hint="close the older one", reason="STALE")

    def begin_session(self, device_id: str, now: datetime) -> int:
        """Raises the device's session epoch by one and notes that it was seen.

        Returns:
            The new epoch. No two calls return the same.

        Raises:
            NotFoundError: There is no such device.
        """
        epoch: int | None = self._connection.scalar(
            update(DEVICES)
            .where(DEVICES.c.id == device_id)
            .values(session_epoch=DEVICES.c.session_epoch + 1, last_seen_at=now)
            .returning(DEVICES.c.session_epoch)
        )
        if epoch is None:
            raise self._not_found(device_id)
        return epoch

    def remove(self, device_id: str) -> None:
        """Forgets the device and how it enrolled; its measurements, jobs and deployments stay.

        Raises:
            NotFoundError: There is no such device.
        """
        if self._connection.execute(delete(DEVICES).where(DEVICES.c.id == device_id)).rowcount == 0:
            raise self._not_found(device_id)

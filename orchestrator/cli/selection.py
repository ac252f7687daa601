"""The devices that a selector names, asked before anything is made for them."""

from __future__ import annotations

from orchestrator.client import Client, Device
from orchestrator.errors import NotFoundError


def selected_devices(client: Client, selector: str) -> tuple[Device, ...]:
    """The devices, at least one.

    Raises:
        NotFoundError: There is none.
    """
    devices = client.list_devices(selector)
    if not devices:
        raise NotFoundError(f"'{selector}' selects no device", hint="'fleetfit device list' shows what there is")
    return devices

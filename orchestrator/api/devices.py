"""The service for looking at devices and managing them."""

from __future__ import annotations

from typing import Any

import grpc
from fleetfit.v1 import devices_pb2, devices_pb2_grpc

from orchestrator.api.convert.devices import device_to_proto
from orchestrator.fleet.devices import Devices, DeviceStatus


class DeviceService(devices_pb2_grpc.DeviceServiceServicer):
    """Devices for operators."""

    def __init__(self, *, devices: Devices) -> None:
        self._devices = devices

    async def ListDevices(
        self, request: devices_pb2.ListDevicesRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> devices_pb2.ListDevicesResponse:
        """The selected devices; none is an answer too."""
        found = await self._devices.list(request.selector)
        return devices_pb2.ListDevicesResponse(devices=[_message(status) for status in found])

    async def GetDevice(
        self, request: devices_pb2.GetDeviceRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> devices_pb2.GetDeviceResponse:
        """One device by name or id."""
        return devices_pb2.GetDeviceResponse(device=_message(await self._devices.get(request.device)))

    async def LabelDevice(
        self, request: devices_pb2.LabelDeviceRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> devices_pb2.LabelDeviceResponse:
        """The device with its new labels."""
        labelled = await self._devices.label(
            request.device, set_labels=dict(request.set), remove_labels=tuple(request.remove)
        )
        return devices_pb2.LabelDeviceResponse(device=_message(labelled))

    async def RemoveDevice(
        self, request: devices_pb2.RemoveDeviceRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> devices_pb2.RemoveDeviceResponse:
        """Nothing: the device is gone."""
        await self._devices.remove(request.device)
        return devices_pb2.RemoveDeviceResponse()


def _message(status: DeviceStatus) -> devices_pb2.Device:
    return device_to_proto(status.device, online=status.online, activity=status.activity)

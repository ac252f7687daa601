"""The service that starts rollouts and shows how they go on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
from fleetfit.v1 import rollouts_pb2, rollouts_pb2_grpc

from orchestrator.api.convert.rollouts import rollout_to_proto
from orchestrator.api.watching import watch
from orchestrator.events import Events
from orchestrator.fleet.device import Device
from orchestrator.fleet.selector import select_devices
from orchestrator.releases.release import Release
from orchestrator.rollouts.controller import RolloutController
from orchestrator.rollouts.rollout import Rollout
from orchestrator.storage.database import Database
from orchestrator.storage.transaction import Transaction


class RolloutService(rollouts_pb2_grpc.RolloutServiceServicer):
    """Rollouts for operators."""

    def __init__(self, *, database: Database, events: Events, controller: RolloutController) -> None:
        self._database = database
        self._events = events
        self._controller = controller

    async def CreateRollout(
        self, request: rollouts_pb2.CreateRolloutRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> rollouts_pb2.CreateRolloutResponse:
        """The rollout, started."""

        def choose(tx: Transaction) -> tuple[Release, tuple[Device, ...]]:
            return tx.releases.find(request.release), select_devices(request.selector, tx.devices.list())

        release, devices = await self._database.run(choose)
        rollout = await self._controller.create(
            release=release,
            devices=devices,
            selector=request.selector,
            idempotency_key=request.idempotency_key[:128],
        )
        message = await self._database.run(lambda tx: _message(tx, rollout))
        return rollouts_pb2.CreateRolloutResponse(rollout=message)

    async def ListRollouts(
        self, request: rollouts_pb2.ListRolloutsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> rollouts_pb2.ListRolloutsResponse:
        """All rollouts, newest first."""
        messages = await self._database.run(lambda tx: [_message(tx, rollout) for rollout in tx.rollouts.list()])
        return rollouts_pb2.ListRolloutsResponse(rollouts=messages)

    async def GetRollout(
        self, request: rollouts_pb2.GetRolloutRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> rollouts_pb2.GetRolloutResponse:
        """One rollout by its id."""
        message = await self._database.run(lambda tx: _message(tx, tx.rollouts.find(request.rollout)))
        return rollouts_pb2.GetRolloutResponse(rollout=message)

    async def WatchRollout(
        self, request: rollouts_pb2.WatchRolloutRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[rollouts_pb2.WatchRolloutResponse]:
        """The rollout whenever it has changed, until it has ended."""
        rollout_id = (await self._database.run(lambda tx: tx.rollouts.find(request.rollout))).id

        async def look() -> tuple[rollouts_pb2.WatchRolloutResponse, bool]:
            def read(tx: Transaction) -> tuple[rollouts_pb2.WatchRolloutResponse, bool]:
                rollout = tx.rollouts.get(rollout_id)
                return rollouts_pb2.WatchRolloutResponse(rollout=_message(tx, rollout)), rollout.state.final

            return await self._database.run(read)

        async for message in watch(self._events, f"rollout/{rollout_id}", look):
            yield message


def _message(tx: Transaction, rollout: Rollout) -> rollouts_pb2.Rollout:
    return rollout_to_proto(
        rollout,
        release=tx.releases.get(rollout.release_id),
        deployments=tx.deployments.list(rollout.id),
        device_names={device.id: device.name for device in tx.devices.list()},
    )

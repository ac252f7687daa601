"""The service that starts rollouts and shows how they go on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
from fleetfit.v1 import rollouts_pb2, rollouts_pb2_grpc

from orchestrator.api.convert.rollouts import plan_from_proto, rollout_to_proto
from orchestrator.api.watching import watch
from orchestrator.events import Events
from orchestrator.fleet.device import Device
from orchestrator.fleet.selector import select_devices
from orchestrator.releases.release import Release
from orchestrator.rollouts.controller import RolloutController
from orchestrator.rollouts.operations import RolloutOperations
from orchestrator.rollouts.rollout import Rollout
from orchestrator.storage.database import Database
from orchestrator.storage.transaction import Transaction

_KEY_LIMIT = 128
# A hash is added to it.
_ROLL_BACK_KEY_LIMIT = 60


class RolloutService(rollouts_pb2_grpc.RolloutServiceServicer):
    """Rollouts for operators."""

    def __init__(
        self, *, database: Database, events: Events, controller: RolloutController, operations: RolloutOperations
    ) -> None:
        self._database = database
        self._events = events
        self._controller = controller
        self._operations = operations

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
            idempotency_key=request.idempotency_key[:_KEY_LIMIT],
            plan=plan_from_proto(request.plan),
        )
        return rollouts_pb2.CreateRolloutResponse(rollout=await self._message(rollout))

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

    async def PauseRollout(
        self, request: rollouts_pb2.PauseRolloutRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> rollouts_pb2.PauseRolloutResponse:
        """The rollout, paused."""
        rollout = await self._operations.pause(request.rollout)
        return rollouts_pb2.PauseRolloutResponse(rollout=await self._message(rollout))

    async def ResumeRollout(
        self, request: rollouts_pb2.ResumeRolloutRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> rollouts_pb2.ResumeRolloutResponse:
        """The rollout, which goes on."""
        rollout = await self._operations.resume(request.rollout)
        return rollouts_pb2.ResumeRolloutResponse(rollout=await self._message(rollout))

    async def AbortRollout(
        self, request: rollouts_pb2.AbortRolloutRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> rollouts_pb2.AbortRolloutResponse:
        """The rollout, which ends."""
        rollout = await self._operations.abort(request.rollout)
        return rollouts_pb2.AbortRolloutResponse(rollout=await self._message(rollout))

    async def RetryRollout(
        self, request: rollouts_pb2.RetryRolloutRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> rollouts_pb2.RetryRolloutResponse:
        """The new rollout to the devices that failed."""
        key = request.idempotency_key[:_KEY_LIMIT]
        rollout = await self._operations.retry(request.rollout, idempotency_key=key)
        return rollouts_pb2.RetryRolloutResponse(rollout=await self._message(rollout))

    async def RollBackRollout(
        self, request: rollouts_pb2.RollBackRolloutRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> rollouts_pb2.RollBackRolloutResponse:
        """The new rollouts that take devices back."""
        key = request.idempotency_key[:_ROLL_BACK_KEY_LIMIT]
        rollouts = await self._operations.roll_back(request.rollout, idempotency_key=key)
        return rollouts_pb2.RollBackRolloutResponse(rollouts=[await self._message(each) for each in rollouts])

    async def _message(self, rollout: Rollout) -> rollouts_pb2.Rollout:
        return await self._database.run(lambda tx: _message(tx, rollout))


def _message(tx: Transaction, rollout: Rollout) -> rollouts_pb2.Rollout:
    return rollout_to_proto(
        rollout,
        release=tx.releases.get(rollout.release_id),
        deployments=tx.deployments.list(rollout.id),
        device_names={device.id: device.name for device in tx.devices.list()},
    )

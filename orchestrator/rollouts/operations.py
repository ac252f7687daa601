"""What operators do with a rollout that goes on: pause, resume, abort, retry, roll back. Each may be asked again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from orchestrator.clock import Clock
from orchestrator.errors import ConflictError
from orchestrator.events import Events
from orchestrator.fleet.device import Device
from orchestrator.releases.release import Release
from orchestrator.rollouts.controller import RolloutController
from orchestrator.rollouts.plan import Plan
from orchestrator.rollouts.rollout import Deployment, DeploymentState, Rollout, RolloutState
from orchestrator.rollouts.settlement import evaluated, settle
from orchestrator.storage.database import Database
from orchestrator.storage.transaction import Transaction

_PAUSED_BY_HAND = "an operator paused it"


class RolloutOperations:
    """Changes the course of rollouts.

    Args:
        database: Where they are.
        events: Told of each change, after it was committed.
        controller: Makes rollouts.
        republish: Signs a release again, under a counter above all others of its name.
        clock: The present.
    """

    def __init__(
        self,
        *,
        database: Database,
        events: Events,
        controller: RolloutController,
        republish: Callable[[Release], Awaitable[Release]],
        clock: Clock,
    ) -> None:
        self._database = database
        self._events = events
        self._controller = controller
        self._republish = republish
        self._clock = clock

    async def pause(self, rollout_id: str) -> Rollout:
        """The rollout, which starts nothing more.

        Raises:
            ConflictError: It has ended, or is being aborted.
            NotFoundError: There is no such rollout.
        """

        def change(tx: Transaction, rollout: Rollout) -> Rollout:
            if rollout.state is not RolloutState.RUNNING:
                raise _too_late(rollout, "paused")
            return replace(rollout, state=RolloutState.PAUSED, reason=_PAUSED_BY_HAND)

        return await self._change(rollout_id, RolloutState.PAUSED, change)

    async def resume(self, rollout_id: str) -> Rollout:
        """The rollout, which goes on; failures that would pause it again at once are excused.

        Raises:
            ConflictError: It has ended, or is being aborted.
            NotFoundError: There is no such rollout.
        """
        now = self._clock()

        def change(tx: Transaction, rollout: Rollout) -> Rollout:
            if rollout.state is not RolloutState.PAUSED:
                raise _too_late(rollout, "resumed")
            going_on = replace(rollout, state=RolloutState.RUNNING, reason="")
            deployments = list(tx.deployments.list(rollout.id))
            if evaluated(tx, going_on, deployments, now).rollout.state is RolloutState.PAUSED:
                for each in deployments:
                    if each.wave <= rollout.wave and _is_excusable(each):
                        tx.deployments.update(replace(each, excused=True), expecting=each.state)
            return going_on

        return await self._change(rollout_id, RolloutState.RUNNING, change)

    async def abort(self, rollout_id: str) -> Rollout:
        """The rollout, which ends as soon as the devices that have begun are done.

        Raises:
            ConflictError: It has ended otherwise.
            NotFoundError: There is no such rollout.
        """

        def change(tx: Transaction, rollout: Rollout) -> Rollout:
            if rollout.state is RolloutState.ABORTED:
                return rollout
            if rollout.state.final:
                raise _too_late(rollout, "aborted")
            return replace(rollout, state=RolloutState.ABORTING, reason="an operator aborted it")

        return await self._change(rollout_id, RolloutState.ABORTING, change)

    async def retry(self, rollout_id: str, *, idempotency_key: str) -> Rollout:
        """A new rollout of the same release to the devices that failed; asked again with the same key, the one made.

        Devices that a newer rollout has taken over since are left to it.

        Raises:
            ConflictError: No device failed, or the key was used for another request.
            NotFoundError: There is no such rollout.
        """

        def failed(tx: Transaction) -> tuple[Rollout, Release, list[Device]]:
            rollout = tx.rollouts.find(rollout_id)
            known = tx.devices.last_seen()
            ids = [
                each.device_id
                for each in tx.deployments.list(rollout.id)
                if each.state.failure
                and each.device_id in known
                and tx.deployments.by_device(each.device_id)[0] == each
            ]
            return rollout, tx.releases.get(rollout.release_id), [tx.devices.get(device_id) for device_id in ids]

        made = await self._made(idempotency_key)
        if made is not None:
            return made
        rollout, release, devices = await self._database.run(failed)
        if not devices:
            raise ConflictError(f"no device of rollout {rollout.id} waits for another try", reason="NOTHING_TO_RETRY")
        return await self._controller.create(
            release=release,
            devices=devices,
            selector=f"failed in {rollout.id}",
            idempotency_key=idempotency_key,
            plan=_at_once(rollout.plan),
        )

    async def roll_back(self, rollout_id: str, *, idempotency_key: str) -> tuple[Rollout, ...]:
        """New rollouts that take the devices which run the release, or are about to, back to what they ran before.

        What they ran before is signed again under a higher counter: no device ever accepts a lower one. A rollout that
        goes on is aborted first. Devices that ran nothing before keep what they have.

        Raises:
            ConflictError: No device can go back.
            NotFoundError: There is no such rollout.
        """

        def affected(tx: Transaction) -> tuple[Rollout, dict[str, list[Device]], dict[str, Release]]:
            rollout = tx.rollouts.find(rollout_id)
            release = tx.releases.get(rollout.release_id)
            known = tx.devices.last_seen()
            back: dict[str, list[Device]] = {}
            releases: dict[str, Release] = {}
            for each in tx.deployments.list(rollout.id):
                if each.device_id not in known or not _took_it(each):
                    continue
                previous = tx.releases.by_manifest(each.previous_manifest_sha256)
                if previous is not None and previous != release:
                    releases[previous.manifest_sha256] = previous
                    back.setdefault(previous.manifest_sha256, []).append(tx.devices.get(each.device_id))
            return rollout, back, releases

        rollout, back, releases = await self._database.run(affected)
        if not back:
            raise ConflictError(
                f"no device of rollout {rollout.id} runs its release and ran another one before",
                hint="deliver another release: 'fleetfit rollout create'",
                reason="NOTHING_TO_ROLL_BACK",
            )
        if not rollout.state.final:
            await self.abort(rollout.id)
        rollouts = []
        for manifest_sha256, devices in sorted(back.items()):
            key = f"{idempotency_key}/{manifest_sha256}"[:128] if idempotency_key else ""
            made = await self._made(key)
            if made is None:
                made = await self._controller.create(
                    release=await self._republish(releases[manifest_sha256]),
                    devices=devices,
                    selector=f"back from {rollout.id}",
                    idempotency_key=key,
                    plan=_at_once(rollout.plan),
                )
            rollouts.append(made)
        return tuple(rollouts)

    async def _change(
        self, rollout_id: str, target: RolloutState, change: Callable[[Transaction, Rollout], Rollout]
    ) -> Rollout:
        """The rollout after a change and all that follows from it; as it is where it is in the target state already."""
        now = self._clock()

        def work(tx: Transaction) -> tuple[Rollout, set[str]]:
            rollout = tx.rollouts.find(rollout_id)
            if rollout.state is target:
                return rollout, set()
            tx.rollouts.update(change(tx, rollout), expecting=rollout.state)
            changed = {f"rollout/{rollout.id}", *settle(tx, rollout.id, now)}
            # Devices to which it was not offered until now, or is no more.
            changed |= {f"device/{each.device_id}" for each in tx.deployments.list(rollout.id)}
            return tx.rollouts.get(rollout.id), changed

        after, topics = await self._database.run(work)
        for topic in sorted(topics):
            self._events.publish(topic)
        return after

    async def _made(self, idempotency_key: str) -> Rollout | None:
        return await self._database.run(lambda tx: tx.rollouts.by_idempotency_key(idempotency_key))


def _is_excusable(deployment: Deployment) -> bool:
    return deployment.state.failure or deployment.state is DeploymentState.SKIPPED_OFFLINE


def _took_it(deployment: Deployment) -> bool:
    """Whether the device runs the release, or may do so soon."""
    return deployment.state is DeploymentState.ACTIVE or deployment.state.begun


def _at_once(plan: Plan) -> Plan:
    """The plan without waves: these devices have been chosen one by one."""
    return replace(plan, waves=Plan().waves, open=False)


def _too_late(rollout: Rollout, verb: str) -> ConflictError:
    return ConflictError(
        f"rollout {rollout.id} is {rollout.state.value} and cannot be {verb}",
        hint=f"see 'fleetfit rollout show {rollout.id}'",
        reason="ROLLOUT_STATE",
    )

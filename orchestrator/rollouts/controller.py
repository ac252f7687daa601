"""The rollout controller: what each device should run, and what it made of that. All of it is in the database."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from orchestrator.clock import Clock
from orchestrator.errors import ConflictError, InvalidInputError, PermissionDeniedError, UnavailableError
from orchestrator.events import Events
from orchestrator.fleet.device import ActiveRelease, Device
from orchestrator.fleet.plain_text import plain_text
from orchestrator.fleet.selector import parse_selector
from orchestrator.releases.release import Release
from orchestrator.rollouts.evaluation import offered
from orchestrator.rollouts.plan import Plan
from orchestrator.rollouts.progress import moves
from orchestrator.rollouts.rollout import Deployment, DeploymentState, Rollout, RolloutState
from orchestrator.rollouts.settlement import settle
from orchestrator.storage.database import Database
from orchestrator.storage.transaction import Transaction

_LOG = logging.getLogger(__name__)

_ALL_AT_ONCE = Plan()
_LOOK_AGAIN_S = 2.0
_ANSWERABLE = frozenset(state for state in DeploymentState if not state.final) | {DeploymentState.SKIPPED_OFFLINE}
_REASON_LIMIT = 500
_REPORT_ID_LIMIT = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Desired:
    """The one release that a device should run; it obeys only if the release repository proves the same."""

    deployment_id: str
    manifest_path: str
    manifest_sha256: str


class RolloutController:
    """Makes rollouts and follows them by what devices report.

    Args:
        database: Where everything is kept; nothing is remembered here.
        events: Told of each change, after it was committed.
        clock: The time that changes are noted with.
    """

    def __init__(self, *, database: Database, events: Events, clock: Clock) -> None:
        self._database = database
        self._events = events
        self._clock = clock

    async def create(
        self,
        *,
        release: Release,
        devices: Sequence[Device],
        selector: str,
        idempotency_key: str,
        plan: Plan = _ALL_AT_ONCE,
    ) -> Rollout:
        """A new rollout of the release to the devices; asked again with the same key, the one that was made.

        It takes the place of what the same devices have not finished yet, also of those whose turn comes later: the
        newest rollout decides what a device should run.

        Raises:
            InvalidInputError: There is no device, or the plan makes no sense.
            ConflictError: The key was used for another request.
        """
        if not devices:
            raise InvalidInputError(
                f"no device matches '{selector}'", hint="'fleetfit device list' shows the fleet", reason="NO_DEVICE"
            )
        plan.check()
        now = self._clock()
        superseded = f"{release.title} took its place"
        rollout = Rollout(
            id=str(uuid.uuid4()),
            release_id=release.id,
            selector=selector,
            state=RolloutState.RUNNING,
            created_at=now,
            plan=plan,
            idempotency_key=idempotency_key,
        )
        # Chosen here: the work below may be run again by the database.
        deployments = [
            Deployment(
                id=str(uuid.uuid4()),
                rollout_id=rollout.id,
                device_id=device_id,
                state=DeploymentState.WAITING,
                updated_at=now,
                wave=wave,
            )
            for device_id, wave in plan.waves_of(device.id for device in devices).items()
        ]

        def work(tx: Transaction) -> tuple[Rollout, set[str]]:
            made = tx.rollouts.by_idempotency_key(idempotency_key)
            if made is not None:
                if (made.release_id, made.selector) != (release.id, selector):
                    raise ConflictError(
                        "the idempotency key was used for another rollout", hint="use a new key for a new request"
                    )
                return made, set()
            tx.rollouts.add(rollout)
            changed = {f"rollout/{rollout.id}"}
            for deployment in deployments:
                changed |= _end_open(tx, deployment.device_id, DeploymentState.SUPERSEDED, superseded, now)
                tx.deployments.add(deployment)
            changed |= settle(tx, rollout.id, now)
            return tx.rollouts.get(rollout.id), changed

        created, changed = await self._database.run(work)
        self._publish(changed)
        return created

    async def desired(self, device_id: str) -> Desired | None:
        """What the device should run: the newest rollout counts, and none where the device has ended that."""

        def work(tx: Transaction) -> Desired | None:
            newest = next(iter(tx.deployments.by_device(device_id)), None)
            if newest is None or newest.state not in _ANSWERABLE:
                return None
            rollout = tx.rollouts.get(newest.rollout_id)
            skipped = newest.state is DeploymentState.SKIPPED_OFFLINE
            if not offered(rollout, newest, tx.deployments.list(rollout.id) if skipped else ()):
                return None
            release = tx.releases.get(rollout.release_id)
            return Desired(
                deployment_id=newest.id,
                manifest_path=release.manifest_path,
                manifest_sha256=release.manifest_sha256,
            )

        return await self._database.run(work)

    async def report(
        self,
        *,
        device_id: str,
        report_id: str,
        deployment_id: str,
        state: DeploymentState,
        reason: str,
        active_release: ActiveRelease | None,
        reported_at: datetime,
    ) -> None:
        """Takes what a device says of its deployment. The same report again, or one that comes too late, moves nothing.

        Raises:
            NotFoundError: There is no such deployment.
            PermissionDeniedError: It is another device's.
            InvalidInputError: The report has no id, or one that is too long.
        """
        if not 0 < len(report_id) <= _REPORT_ID_LIMIT:
            raise InvalidInputError("a deployment report needs an id of at most 200 characters")
        reason = plain_text(reason, limit=_REASON_LIMIT)
        now = self._clock()

        def work(tx: Transaction) -> set[str]:
            deployment = tx.deployments.get(deployment_id)
            if deployment.device_id != device_id:
                raise PermissionDeniedError(f"deployment {deployment_id} is not of device {device_id}")
            # Devices choose the ids of their reports; one device must not be able to use up another's.
            unique_id = f"{deployment_id}/{report_id}"
            if not tx.deployment_reports.add_once(unique_id, deployment_id, state, reason, reported_at):
                return set()
            if not moves(deployment.state, state):
                return set()
            rollout = tx.rollouts.get(deployment.rollout_id)
            release = tx.releases.get(rollout.release_id)
            seen, why = _believed(state, reason, release, active_release)
            moved = replace(deployment, state=seen, reason=why, updated_at=now)
            tx.deployments.update(moved, expecting=deployment.state)
            _note_active(tx, device_id, active_release)
            changed = {f"device/{device_id}", f"rollout/{rollout.id}"}
            # What a device does on its way changes nothing for the others.
            return changed | settle(tx, rollout.id, now) if seen.final else changed

        self._publish(await self._database.run(work))

    def forget(self, tx: Transaction, device: Device) -> set[str]:
        """Ends what a device that is being removed has not finished: nobody will ever report on it.

        Returns:
            The topics that changed, to be published once the transaction is committed.
        """
        reason = f"device {device.name} was removed from the fleet"
        return _end_open(tx, device.id, DeploymentState.REMOVED, reason, self._clock())

    async def watch(self) -> None:
        """Does, for ever, what time brings: soak times and deadlines that have passed, devices that have joined.

        It begins with whatever an orchestrator that was killed has left behind.
        """
        while True:
            try:
                await self.look()
            except UnavailableError as error:
                _LOG.warning("rollouts were not looked at: %s", error.message)
            await asyncio.sleep(_LOOK_AGAIN_S)

    async def look(self) -> None:
        """Moves each unfinished rollout to where it should be now.

        Raises:
            UnavailableError: The database cannot be reached.
        """
        for rollout in await self._database.run(lambda tx: tx.rollouts.unfinished()):
            await self.settle(rollout.id)

    async def settle(self, rollout_id: str) -> None:
        """Moves one rollout to where it should be now, with the devices that have come to match it.

        Raises:
            NotFoundError: There is no such rollout.
        """
        now = self._clock()

        def work(tx: Transaction) -> set[str]:
            _admit(tx, tx.rollouts.get(rollout_id), now)
            return settle(tx, rollout_id, now)

        self._publish(await self._database.run(work))

    def _publish(self, topics: set[str]) -> None:
        for topic in sorted(topics):
            self._events.publish(topic)


def _end_open(tx: Transaction, device_id: str, state: DeploymentState, reason: str, now: datetime) -> set[str]:
    """Ends what the device has not finished; the topics that changed."""
    changed = set()
    for deployment in tx.deployments.by_device(device_id):
        if deployment.state.final:
            continue
        ended = replace(deployment, state=state, reason=reason, updated_at=now)
        tx.deployments.update(ended, expecting=deployment.state)
        changed |= {f"rollout/{deployment.rollout_id}", *settle(tx, deployment.rollout_id, now)}
    return changed


def _believed(
    state: DeploymentState, reason: str, release: Release, active_release: ActiveRelease | None
) -> tuple[DeploymentState, str]:
    """What a report is worth: a device that says it is done and serves something else is not done."""
    if state is not DeploymentState.ACTIVE:
        return state, reason
    if active_release is None:
        return DeploymentState.FAILED, "the device reports success and serves nothing"
    if active_release.manifest_sha256 != release.manifest_sha256:
        serves = plain_text(f"{active_release.name}:{active_release.version}", limit=150)
        return DeploymentState.FAILED, f"the device reports success and serves {serves}"
    return state, reason


def _note_active(tx: Transaction, device_id: str, active_release: ActiveRelease | None) -> None:
    device = tx.devices.get(device_id)
    if device.active_release != active_release:
        tx.devices.update(replace(device, active_release=active_release))


def _admit(tx: Transaction, rollout: Rollout, now: datetime) -> None:
    """Has devices that match the rollout by now wait for its last wave, where its plan says so."""
    if rollout.state.final or rollout.state is RolloutState.ABORTING or not rollout.plan.open:
        return
    members = tx.deployments.list(rollout.id)
    taking_part = {deployment.device_id for deployment in members}
    selector = parse_selector(rollout.selector)
    for device in tx.devices.list():
        if device.id in taking_part or not selector.matches(device):
            continue
        newest = next(iter(tx.deployments.by_device(device.id)), None)
        if newest is not None and tx.rollouts.get(newest.rollout_id).created_at >= rollout.created_at:
            continue
        _end_open(tx, device.id, DeploymentState.SUPERSEDED, "a rollout that it came to match took its place", now)
        joined = Deployment(
            id=str(uuid.uuid4()),
            rollout_id=rollout.id,
            device_id=device.id,
            state=DeploymentState.WAITING,
            updated_at=now,
            wave=max(member.wave for member in members),
        )
        tx.deployments.add(joined)

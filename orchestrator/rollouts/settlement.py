"""Moves a stored rollout to where it should be, in one transaction: what is read is what is judged and written."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from orchestrator.rollouts.evaluation import Evaluation, evaluate
from orchestrator.rollouts.rollout import Deployment, DeploymentState, Rollout
from orchestrator.storage.transaction import Transaction

# Devices that are connected are noted more often than this.
_OFFLINE_AFTER = timedelta(seconds=90)


def settle(tx: Transaction, rollout_id: str, now: datetime) -> set[str]:
    """Does what the rollout needs now; the topics that changed, none where it stands as it should.

    Each change is made only to the state that was read. Transactions follow one after the other, so of two
    controllers that look at the same moment, the second one finds done what the first one did.
    """
    rollout = tx.rollouts.get(rollout_id)
    stored = tx.deployments.list(rollout_id)
    before = {deployment.id: deployment for deployment in stored}
    known = tx.devices.last_seen()
    deployments = [_without_device(each, now) if each.device_id not in known else each for each in stored]
    result = evaluated(tx, rollout, deployments, now)
    changed = {deployment.id: deployment for deployment in deployments if deployment != before[deployment.id]}
    changed.update((deployment.id, deployment) for deployment in result.changed)
    for deployment in changed.values():
        tx.deployments.update(deployment, expecting=before[deployment.id].state)
    if result.rollout != rollout:
        tx.rollouts.update(result.rollout, expecting=rollout.state)
    if not changed and result.rollout == rollout:
        return set()
    return {f"rollout/{rollout.id}", *(f"device/{deployment.device_id}" for deployment in changed.values())}


def evaluated(tx: Transaction, rollout: Rollout, deployments: list[Deployment], now: datetime) -> Evaluation:
    """What the rollout and its deployments should be, by what is known of the devices."""
    heard = tx.devices.last_seen()
    offline = {device_id for device_id, seen_at in heard.items() if seen_at is None or now - seen_at >= _OFFLINE_AFTER}
    result = evaluate(rollout, deployments, offline=offline, now=now)
    return replace(result, changed=tuple(_with_previous(tx, each) for each in result.changed))


def _without_device(deployment: Deployment, now: datetime) -> Deployment:
    """The deployment of a device that the fleet does not know any more: ended, unless it had before."""
    if deployment.state.final:
        return deployment
    reason = "the device was removed from the fleet"
    return replace(deployment, state=DeploymentState.REMOVED, reason=reason, updated_at=now)


def _with_previous(tx: Transaction, deployment: Deployment) -> Deployment:
    """A deployment that has just begun, with what its device serves until then: the way back leads there."""
    if deployment.state is not DeploymentState.PENDING:
        return deployment
    serves = tx.devices.get(deployment.device_id).active_release
    return replace(deployment, previous_manifest_sha256=serves.manifest_sha256 if serves is not None else "")

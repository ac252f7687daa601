"""A rollout: the delivery of a release to selected devices, and where each of them is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum


class DeploymentState(str, Enum):
    """Where one device is on its way to a release, as the device reports it."""

    PENDING = "pending"
    DOWNLOADING = "downloading"
    VERIFYING = "verifying"
    TESTING = "testing"
    ACTIVATING = "activating"
    ACTIVE = "active"
    REFUSED = "refused"
    FAILED = "failed"
    ROLLED_BACK = "rolled_back"
    SUPERSEDED = "superseded"
    REMOVED = "removed"

    @property
    def final(self) -> bool:
        """Whether the device is done with this release."""
        return self in _FINAL


_FINAL = frozenset({
    DeploymentState.ACTIVE, DeploymentState.REFUSED, DeploymentState.FAILED, DeploymentState.ROLLED_BACK,
    DeploymentState.SUPERSEDED, DeploymentState.REMOVED,
})  # fmt: skip


class RolloutState(str, Enum):
    """Where a rollout is; all but RUNNING are final."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SUPERSEDED = "superseded"

    @property
    def final(self) -> bool:
        """Whether the rollout has ended."""
        return self is not RolloutState.RUNNING


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """One delivery of one release."""

    id: str
    release_id: str
    selector: str
    state: RolloutState
    created_at: datetime
    idempotency_key: str = ""
    reason: str = ""
    finished_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """One device's part in a rollout."""

    id: str
    rollout_id: str
    device_id: str
    state: DeploymentState
    updated_at: datetime
    reason: str = ""


def outcome(states: Iterable[DeploymentState]) -> RolloutState:
    """Where a rollout stands, from where its devices stand.

    Only devices that really run the release count as success; "written" is not success. A device that was removed from
    the fleet counts neither way, and where no other is left, nothing was delivered.
    """
    seen = list(states)
    if not all(state.final for state in seen):
        return RolloutState.RUNNING
    counted = {state for state in seen if state is not DeploymentState.REMOVED}
    if counted == {DeploymentState.ACTIVE}:
        return RolloutState.SUCCEEDED
    if counted and counted <= {DeploymentState.ACTIVE, DeploymentState.SUPERSEDED}:
        return RolloutState.SUPERSEDED
    return RolloutState.FAILED

"""A rollout: the delivery of a release to selected devices, and where each of them is."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from orchestrator.rollouts.plan import Plan


class DeploymentState(str, Enum):
    """Where one device is on its way to a release: as the device reports it, or as the orchestrator decided."""

    # Its turn has not come.
    WAITING = "waiting"
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
    # Offline past the deadline. It still gets the release when it comes back, if that is the newest that it should run.
    SKIPPED_OFFLINE = "skipped_offline"
    ABORTED = "aborted"

    @property
    def final(self) -> bool:
        """Whether nothing more is expected of the device."""
        return self in _FINAL

    @property
    def failure(self) -> bool:
        """Whether the device tried, and does not serve the release."""
        return self in _FAILURES

    @property
    def begun(self) -> bool:
        """Whether the device said that it is at it, and has not ended."""
        return not self.final and self not in (DeploymentState.WAITING, DeploymentState.PENDING)


_FAILURES = frozenset({DeploymentState.REFUSED, DeploymentState.FAILED, DeploymentState.ROLLED_BACK})
_FINAL = _FAILURES | {
    DeploymentState.ACTIVE, DeploymentState.SUPERSEDED, DeploymentState.REMOVED, DeploymentState.SKIPPED_OFFLINE,
    DeploymentState.ABORTED,
}  # fmt: skip


class RolloutState(str, Enum):
    """Where a rollout is."""

    RUNNING = "running"
    # Nothing more is started until somebody says so.
    PAUSED = "paused"
    # Devices that had begun are waited for.
    ABORTING = "aborting"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SUPERSEDED = "superseded"
    ABORTED = "aborted"

    @property
    def final(self) -> bool:
        """Whether the rollout has ended."""
        return self not in (RolloutState.RUNNING, RolloutState.PAUSED, RolloutState.ABORTING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """One delivery of one release."""

    id: str
    release_id: str
    selector: str
    state: RolloutState
    created_at: datetime
    plan: Plan = field(default_factory=Plan)
    # The wave whose turn it is, from 0 on.
    wave: int = 0
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
    wave: int = 0
    # When its turn came.
    started_at: datetime | None = None
    # It failed, and somebody resumed the rollout all the same: it counts no more.
    excused: bool = False
    # What the device served when its turn came; empty: nothing.
    previous_manifest_sha256: str = ""
    reason: str = ""

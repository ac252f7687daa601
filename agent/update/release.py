"""What the updater is told, what it serves, and what it reports."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum


class DeploymentState(str, Enum):
    """Where this device is on its way to a release."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class DesiredRelease:
    """What the orchestrator asks for: only *what*; the release repository must prove *that*."""

    deployment_id: str
    manifest_path: str
    manifest_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveRelease:
    """What ``current`` points to."""

    manifest_sha256: str
    name: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentReport:
    """One step of a deployment, kept in the outbox until the orchestrator confirms ``report_id``."""

    report_id: str
    deployment_id: str
    state: DeploymentState
    reported_at: datetime
    reason: str = ""
    active_release: ActiveRelease | None = None

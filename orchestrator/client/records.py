"""What the client returns: the server's records as plain, frozen, typed Python.

Value types that mean the same on both sides (facts, figures, verdicts, states) are the domain's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from orchestrator.fleet.api_token import Role
from orchestrator.fleet.device import ActiveRelease, DeviceFacts
from orchestrator.fleet.measurement import Conditions, Energy, Latency, Memory, Numerics, Outcome
from orchestrator.rollouts.plan import Plan
from orchestrator.rollouts.rollout import DeploymentState, RolloutState
from orchestrator.search.budget import Budgets, Verdict
from orchestrator.search.search import SearchState
from orchestrator.search.trial import TrialState


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerInfo:
    """What a server is, and who the caller is to it."""

    version: str
    # "host:port" for people and for machines that want to join.
    public_address: str
    # "host:port" for enrolled devices.
    device_address: str
    ca_hash: str
    role: str
    devices_online: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """One enrolled machine, as the server sees it now."""

    id: str
    name: str
    device_class: str
    online: bool
    activity: str
    facts: DeviceFacts
    labels: Mapping[str, str]
    active_release: ActiveRelease | None
    enrolled_at: datetime | None
    last_seen_at: datetime | None
    certificate_expires_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinToken:
    """A join token without its secret."""

    id: str
    created_at: datetime | None
    expires_at: datetime | None
    uses: int
    maximum_uses: int
    revoked: bool
    labels: Mapping[str, str]

    @property
    def used_up(self) -> bool:
        """Whether no further device can join with it."""
        return self.uses >= self.maximum_uses


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJoinToken:
    """A join token just made: the only time that its secret is shown."""

    token: JoinToken
    secret: str = field(repr=False)
    # "sha256:…" of the certificate authority that the device must meet.
    ca_hash: str
    # "host:port" that a device dials to join.
    address: str

    @property
    def command(self) -> str:
        """The line to run on the device."""
        return f"fleetfit-agent join {self.address} --token {self.secret} --ca-hash {self.ca_hash}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One artifact on one device, every figure with its source."""

    result_id: str
    artifact_sha256: str
    outcome: Outcome
    detail: str
    latency: Latency | None
    energy: Energy | None
    memory: Memory | None
    numerics: Numerics | None
    conditions: Conditions
    measured_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One recipe in one search, with all that is known of it so far."""

    id: str
    # 0 is the baseline.
    number: int
    title: str
    recipe_json: str
    state: TrialState
    reason: str
    progress: str
    format: str
    size_bytes: int | None
    accuracy: float | None
    train_s: float | None
    artifact_sha256: str
    # The newest of each device, by the device's name.
    measurements: Mapping[str, Measurement]
    verdicts: tuple[Verdict, ...]

    def verdict(self, budget: str) -> Verdict | None:
        """The verdict on ``budget``; of several devices the one that is furthest off."""
        verdicts = [verdict for verdict in self.verdicts if verdict.budget == budget]
        return max(verdicts, key=Verdict.excess_fraction, default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """The loop over recipes for one workload and its budgets. ``trials`` is empty in lists."""

    id: str
    name: str
    state: SearchState
    reason: str
    budgets: Budgets
    devices: tuple[str, ...]
    workload_filename: str
    metric_name: str
    baseline_trial_id: str
    best_trial_id: str
    closest_trial_id: str
    training_count: int
    measurement_count: int
    created_at: datetime | None
    finished_at: datetime | None
    trials: tuple[Trial, ...] = ()

    @property
    def baseline(self) -> Trial | None:
        """The workload exported as it is."""
        return self._trial(self.baseline_trial_id)

    @property
    def best(self) -> Trial | None:
        """The smallest feasible trial so far; of a search that has ended, the winner."""
        return self._trial(self.best_trial_id)

    @property
    def closest(self) -> Trial | None:
        """Where nothing is feasible: the trial that violates the least."""
        return self._trial(self.closest_trial_id)

    def trial(self, number: int) -> Trial | None:
        """The trial of that number."""
        return next((trial for trial in self.trials if trial.number == number), None)

    def _trial(self, trial_id: str) -> Trial | None:
        return next((trial for trial in self.trials if trial.id == trial_id), None) if trial_id else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """One device's part in a rollout."""

    id: str
    device_id: str
    device: str
    state: DeploymentState
    reason: str
    updated_at: datetime | None
    # From 1 on.
    wave: int
    # It failed and counts no more, because the rollout was resumed all the same.
    excused: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """The delivery of a release to selected devices, and where each of them is."""

    id: str
    release_id: str
    # "name:version".
    release: str
    selector: str
    state: RolloutState
    reason: str
    deployments: tuple[Deployment, ...]
    created_at: datetime | None
    finished_at: datetime | None
    plan: Plan
    # The wave whose turn it is, from 1 on.
    wave: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiToken:
    """An API token without its secret."""

    id: str
    name: str
    role: Role
    created_at: datetime | None
    # None: it lasts until it is revoked.
    expires_at: datetime | None
    revoked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NewApiToken:
    """An API token just made: the only time that its secret is shown."""

    token: ApiToken
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One thing that somebody asked the orchestrator to change."""

    number: int
    recorded_at: datetime | None
    actor: str
    method: str
    parameters: str
    outcome: str
    request_id: str
    hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditVerdict:
    """What following the chain of the audit log has shown."""

    entries: int
    # Number of the first entry that is not what was recorded; None: all hold.
    first_broken: int | None
    last_hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadedArtifact:
    """A trial's artifact, its bytes held against its hash."""

    data: bytes = field(repr=False)
    sha256: str
    format: str

    @property
    def size_bytes(self) -> int:
        """Number of bytes."""
        return len(self.data)

"""What the device and the orchestrator say to each other on the stream, as the agent knows it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from agent.facts import DeviceFacts
from agent.profiling.measurement import Measurement, MeasureRequest
from agent.update.release import ActiveRelease, DeploymentReport, DesiredRelease

# The versions of the stream's protocol that this agent speaks.
PROTOCOL_MINIMUM = 1
PROTOCOL_MAXIMUM = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """The first word on a stream."""

    facts: DeviceFacts
    boot_id: str
    job_ids: tuple[str, ...] = ()
    active_release: ActiveRelease | None = None
    protocol_minimum: int = PROTOCOL_MINIMUM
    protocol_maximum: int = PROTOCOL_MAXIMUM


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """Renews the lease of each job that it names."""

    job_ids: tuple[str, ...] = ()
    active_release: ActiveRelease | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobProgress:
    """What a job is doing, in one line for people."""

    job_id: str
    stage: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResult:
    """What came of a job; kept until the orchestrator confirms it."""

    job_id: str
    measurement: Measurement


Outgoing = Hello | Heartbeat | JobProgress | JobResult | DeploymentReport


@dataclass(frozen=True, slots=True, kw_only=True)
class Welcome:
    """The answer to Hello."""

    protocol_version: int
    # Grows with each stream of this device.
    session_epoch: int
    heartbeat_interval_s: float
    server_time: datetime | None
    device_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JobAssignment:
    """Work, leased to this device."""

    job_id: str
    attempt: int
    lease_s: float
    # None: a kind of work that this agent does not know.
    measure: MeasureRequest | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobCancellation:
    """Nobody waits for this job any more."""

    job_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """The orchestrator has stored the job result or deployment report with this id."""

    id: str


Incoming = Welcome | JobAssignment | JobCancellation | Receipt | DesiredRelease

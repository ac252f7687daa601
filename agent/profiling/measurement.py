"""A measurement as the agent makes it: every figure with its source."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum


class Provenance(str, Enum):
    """How far a figure may be trusted."""

    MEASURED = "measured"
    DERIVED = "derived"
    ESTIMATED = "estimated"


class Outcome(str, Enum):
    """How a measurement ended."""

    OK = "ok"
    CRASHED = "crashed"
    OUT_OF_MEMORY = "out_of_memory"
    TIMED_OUT = "timed_out"
    UNSUPPORTED = "unsupported"
    RUNTIME_UNAVAILABLE = "runtime_unavailable"
    NUMERICS_FAILED = "numerics_failed"
    CANCELLED = "cancelled"
    ARTIFACT_REFUSED = "artifact_refused"


class Quality(str, Enum):
    """Whether the conditions of a measurement were quiet enough to trust it."""

    HIGH = "high"
    LOW = "low"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A value with its two-sided 95 % confidence interval, where the samples give one."""

    value: float
    lower: float | None = None
    upper: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Time per inference. A percentile with too few samples for an interval is None."""

    p50_ms: Figure | None
    p90_ms: Figure | None
    p95_ms: Figure | None
    p99_ms: Figure | None
    mean_ms: float
    minimum_ms: float
    sample_count: int
    load_ms: float
    first_inference_ms: float
    warm_up_count: int
    steady_state: bool
    quality: Quality
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Energy:
    """Energy per inference; both figures None, with a remark, where no meter could tell."""

    gross_mj: float | None
    net_mj: float | None
    lower_mj: float | None
    upper_mj: float | None
    meter: str
    provenance: Provenance
    scope: str
    remark: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Resident memory of the worker process that ran the model."""

    peak_bytes: int
    baseline_bytes: int
    provenance: Provenance


@dataclass(frozen=True, slots=True, kw_only=True)
class Numerics:
    """Distance of the device's outputs from the reference outputs."""

    checked: bool
    maximum_absolute_error: float = 0.0
    maximum_relative_error: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What a figure holds under."""

    runtime: str = ""
    runtime_version: str = ""
    provider: str = ""
    threads: int = 0
    governor: str = ""
    load_average: float = 0.0
    temperature_c: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One artifact on one device. ``result_id`` is made by the device; a result that arrives twice is stored once."""

    result_id: str
    artifact_sha256: str
    outcome: Outcome
    measured_at: datetime
    detail: str = ""
    latency: Latency | None = None
    energy: Energy | None = None
    memory: Memory | None = None
    numerics: Numerics | None = None
    conditions: Conditions = Conditions()


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureRequest:
    """What a device is asked to measure. Defaults suit a small model on a quiet device."""

    artifact_sha256: str
    artifact_size_bytes: int
    artifact_format: str
    runtime: str = ""
    threads: int = 1
    minimum_samples: int = 200
    minimum_duration_s: float = 2.0
    maximum_duration_s: float = 30.0
    # Empty: outputs are not compared.
    golden_sha256: str = ""
    golden_size_bytes: int = 0
    golden_tolerance: float = 0.0

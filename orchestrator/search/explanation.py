"""Verdicts and outcomes in words: what was looked at, what it is, what it may be, and by how much it is off."""

from __future__ import annotations

from orchestrator.fleet.measurement import Measurement, Outcome
from orchestrator.quantity import format_bytes, format_duration, format_energy
from orchestrator.search.budget import Verdict

_TITLES = {
    "latency_p95_ms": "latency p95",
    "energy_mj": "energy",
    "memory_bytes": "peak memory",
    "size_bytes": "size",
    "accuracy": "accuracy",
}

_OUTCOMES = {
    Outcome.CRASHED: "the runtime crashed on it",
    Outcome.OUT_OF_MEMORY: "it ran out of memory",
    Outcome.TIMED_OUT: "it took too long",
    Outcome.UNSUPPORTED: "the runtime does not support it",
    Outcome.RUNTIME_UNAVAILABLE: "there is no runtime for it",
    Outcome.NUMERICS_FAILED: "its outputs are not those of the reference",
    Outcome.CANCELLED: "the measurement was cancelled",
    Outcome.ARTIFACT_REFUSED: "the artifact did not arrive as it was sent",
}


def budget_title(budget: str) -> str:
    """What people call the budget."""
    return _TITLES[budget]


def format_figure(budget: str, value: float) -> str:
    """The figure with its unit."""
    if budget == "latency_p95_ms":
        return format_duration(value / 1e3)
    if budget == "energy_mj":
        return format_energy(value / 1e3)
    if budget in ("memory_bytes", "size_bytes"):
        return format_bytes(value)
    return f"{value:.4f}"


def explain_verdict(verdict: Verdict) -> str:
    """The verdict in one clause: ``latency p95 on pi-4b is 24.1ms, 21% over its budget of 20.0ms``."""
    place = f" on {verdict.device}" if verdict.device else ""
    subject = f"{_TITLES[verdict.budget]}{place}"
    limit = format_figure(verdict.budget, verdict.limit)
    if verdict.value is None:
        return f"{subject} was not measured, its budget is {limit}"
    value = format_figure(verdict.budget, verdict.value)
    kind, held = ("floor", "not below") if verdict.budget == "accuracy" else ("budget", "within")
    return f"{subject} is {value}, {held if verdict.held else explain_excess(verdict)} its {kind} of {limit}"


def explain_excess(verdict: Verdict) -> str:
    """How far the figure is beyond its limit: ``21% over``, ``0.0123 below``; empty where it is held or missing."""
    if verdict.held or verdict.value is None:
        return ""
    if verdict.budget == "accuracy":
        return f"{verdict.limit - verdict.value:.4f} below"
    return f"{_percent(verdict.excess_fraction())} over"


def explain_failed(verdicts: tuple[Verdict, ...]) -> str:
    """Every verdict that is not held, the furthest off first; empty where all are."""
    failed = sorted((verdict for verdict in verdicts if not verdict.held), key=Verdict.excess_fraction, reverse=True)
    return "; ".join(explain_verdict(verdict) for verdict in failed)


def explain_outcome(device: str, measurement: Measurement) -> str:
    """Why the measurement gave no figures."""
    detail = f": {measurement.detail}" if measurement.detail else ""
    return f"{device} could not measure it, {_OUTCOMES[measurement.outcome]}{detail}"


def _percent(fraction: float) -> str:
    return f"{fraction * 100:.1f}%" if fraction < 0.1 else f"{fraction * 100:.0f}%"

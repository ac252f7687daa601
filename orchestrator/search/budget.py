"""Budgets: what a variant must hold to be feasible, and whether it does."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.fleet.measurement import Measurement, Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Budgets:
    """Upper limits, and the floor of the workload's metric. None: no such budget."""

    latency_p95_ms: float | None = None
    energy_mj: float | None = None
    memory_bytes: int | None = None
    size_bytes: int | None = None
    accuracy: float | None = None
    # Largest drop of the metric from the baseline's, as a fraction of one.
    accuracy_drop: float | None = None

    def accuracy_floor(self, baseline_accuracy: float | None) -> float | None:
        """The floor that holds: the higher of the absolute one and the baseline's less the allowed drop."""
        floors = [] if self.accuracy is None else [self.accuracy]
        if self.accuracy_drop is not None and baseline_accuracy is not None:
            floors.append(baseline_accuracy - self.accuracy_drop)
        return max(floors, default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One budget against one figure. A figure that is missing holds nothing."""

    budget: str
    limit: float
    value: float | None
    held: bool
    # Name of the device that the figure is from; empty for size and accuracy.
    device: str = ""

    def excess_fraction(self) -> float:
        """How far beyond its limit the figure is, relative to it; 0 where it is held, inf where there is none."""
        if self.held:
            return 0.0
        if self.value is None or not math.isfinite(self.value) or self.limit == 0:
            return math.inf
        return abs(self.value - self.limit) / abs(self.limit)


def judge_size(budgets: Budgets, size_bytes: int) -> tuple[Verdict, ...]:
    """The verdict on the artifact's size, where there is such a budget."""
    if budgets.size_bytes is None:
        return ()
    return (_at_most("size_bytes", budgets.size_bytes, size_bytes),)


def judge_accuracy(budgets: Budgets, accuracy: float, baseline_accuracy: float | None) -> tuple[Verdict, ...]:
    """The verdict on the metric of the exported artifact. Rounding of the last digits is not held against it."""
    floor = budgets.accuracy_floor(baseline_accuracy)
    if floor is None:
        return ()
    return (Verdict(budget="accuracy", limit=floor, value=accuracy, held=accuracy >= floor - 1e-9),)


def judge_measurements(budgets: Budgets, measurements: Mapping[str, Measurement | None]) -> tuple[Verdict, ...]:
    """The verdicts on what devices measured, for every device by name.

    Latency and energy are held when the upper end of the interval is: a figure that only may be within its budget is
    not within its budget.
    """
    verdicts: list[Verdict] = []
    for device, measurement in measurements.items():
        figures = _figures(measurement)
        for budget in ("latency_p95_ms", "energy_mj", "memory_bytes"):
            limit = getattr(budgets, budget)
            if limit is not None:
                verdicts.append(_at_most(budget, limit, figures.get(budget), device))
    return tuple(verdicts)


def held(verdicts: tuple[Verdict, ...]) -> bool:
    """Whether every budget is held."""
    return all(verdict.held for verdict in verdicts)


def violation(verdicts: tuple[Verdict, ...]) -> float:
    """Sum of the relative excesses: 0 for a feasible variant; orders infeasible ones by how far they are off."""
    return sum(verdict.excess_fraction() for verdict in verdicts)


def _at_most(budget: str, limit: float, value: float | None, device: str = "") -> Verdict:
    within = value is not None and value <= limit
    return Verdict(budget=budget, limit=limit, value=value, held=within, device=device)


def _figures(measurement: Measurement | None) -> dict[str, float]:
    """The figures that budgets look at; a figure that was not obtained is absent."""
    if measurement is None or measurement.outcome is not Outcome.OK:
        return {}
    figures: dict[str, float] = {}
    if measurement.latency is not None and measurement.latency.p95_ms is not None:
        p95 = measurement.latency.p95_ms
        figures["latency_p95_ms"] = p95.value if p95.upper is None else p95.upper
    energy = measurement.energy
    if energy is not None:
        value = energy.net_mj if energy.net_mj is not None else energy.gross_mj
        if value is not None:
            figures["energy_mj"] = value if energy.upper_mj is None else max(value, energy.upper_mj)
    if measurement.memory is not None:
        figures["memory_bytes"] = float(measurement.memory.peak_bytes)
    return figures

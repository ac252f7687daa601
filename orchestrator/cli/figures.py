"""Figures for people: a value with its interval, and whether it was measured or estimated."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.client import Measurement, Trial
from orchestrator.fleet.measurement import Outcome, Quality
from orchestrator.quantity import format_bytes, format_duration, format_energy

# Short enough for a table of trials; the comparison at the end writes the word in full.
SHORT_SOURCES = {"measured": "", "derived": " der.", "estimated": " est."}


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownFigure:
    """One figure of one trial, as it is shown."""

    # In the unit of the budget of that name.
    value: float
    text: str
    # "(80.1us to 91.0us)", empty where there is no interval.
    interval: str = ""
    # The same in few characters, by its wider side: "±9%".
    spread: str = ""
    # "measured", "derived" or "estimated".
    source: str = "measured"
    # The device was not quiet enough to trust it; the remark says why.
    noisy: bool = False
    remark: str = ""

    @property
    def short(self) -> str:
        """Value, spread, and a mark where it was not measured."""
        return f"{self.text}{' ' + self.spread if self.spread else ''}{SHORT_SOURCES[self.source]}"


def figure(trial: Trial, budget: str) -> ShownFigure | None:
    """The figure that ``budget`` limits: of several devices the worst; None where it is not known."""
    if budget == "size_bytes":
        size = trial.size_bytes
        return None if size is None else ShownFigure(value=size, text=format_bytes(size))
    if budget == "accuracy":
        accuracy = trial.accuracy
        return None if accuracy is None else ShownFigure(value=accuracy, text=format_share(accuracy))
    of_device = _OF_MEASUREMENT[budget]
    figures = [of_device(each) for each in trial.measurements.values() if each.outcome is Outcome.OK]
    return max((each for each in figures if each is not None), key=lambda each: each.value, default=None)


def format_limit(budget: str, limit: float) -> str:
    """The limit of a budget with its unit, and on which side of it a figure must lie."""
    if budget == "accuracy":
        return f"≥ {format_share(limit)}"
    return f"≤ {format_value(budget, limit)}"


def format_value(budget: str, value: float) -> str:
    """A figure of that budget with its unit."""
    if budget == "latency_p95_ms":
        return format_duration(value / 1e3)
    if budget == "energy_mj":
        return format_energy(value / 1e3)
    if budget == "accuracy":
        return format_share(value)
    return format_bytes(value)


def format_share(fraction: float) -> str:
    """The share in percent; a metric outside 0 to 1 as it is."""
    return f"{100 * fraction:.1f}%" if 0 <= fraction <= 1 else f"{fraction:.4g}"


def _p95(measurement: Measurement) -> ShownFigure | None:
    latency = measurement.latency
    if latency is None or latency.p95_ms is None:
        return None
    p95 = latency.p95_ms
    return ShownFigure(
        value=p95.value,
        text=format_value("latency_p95_ms", p95.value),
        interval=_interval("latency_p95_ms", p95.lower, p95.upper),
        spread=_spread(p95.value, p95.lower, p95.upper),
        noisy=latency.quality is Quality.LOW,
        remark="; ".join(latency.remarks),
    )


def _energy(measurement: Measurement) -> ShownFigure | None:
    energy = measurement.energy
    if energy is None:
        return None
    value = energy.net_mj if energy.net_mj is not None else energy.gross_mj
    if value is None:
        return None
    return ShownFigure(
        value=value,
        text=format_value("energy_mj", value),
        interval=_interval("energy_mj", energy.lower_mj, energy.upper_mj),
        spread=_spread(value, energy.lower_mj, energy.upper_mj),
        source=energy.provenance.value,
        remark=energy.remark,
    )


def _interval(budget: str, lower: float | None, upper: float | None) -> str:
    if lower is None or upper is None:
        return ""
    return f"({format_value(budget, lower)} to {format_value(budget, upper)})"


def _spread(value: float, lower: float | None, upper: float | None) -> str:
    if lower is None or upper is None or not value:
        return ""
    return f"±{100 * max(value - lower, upper - value) / value:.0f}%"


def _memory(measurement: Measurement) -> ShownFigure | None:
    memory = measurement.memory
    if memory is None:
        return None
    return ShownFigure(value=memory.peak_bytes, text=format_bytes(memory.peak_bytes), source=memory.provenance.value)


_OF_MEASUREMENT = {"latency_p95_ms": _p95, "energy_mj": _energy, "memory_bytes": _memory}

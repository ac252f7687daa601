"""Figures as text, each with where it is from: nothing is shown that was not obtained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from orchestrator.fleet.measurement import Figure, Measurement
from orchestrator.quantity import format_bytes, format_duration, format_energy
from orchestrator.search.explanation import format_figure
from orchestrator.search.trial import Trial

MISSING = "not measured"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A figure, and how far it may be trusted: "measured", "derived", "estimated", or "" where there is none."""

    text: str
    source: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFigure:
    """One of the figures that a device measures: as text, and as a number to compare."""

    title: str
    cell: Callable[[Measurement | None], Cell]
    number: Callable[[Measurement | None], float | None]


def size_cell(trial: Trial) -> Cell:
    """Size of the trial's file, which is counted, not guessed."""
    return (
        Cell(text=MISSING) if trial.size_bytes is None else Cell(text=format_bytes(trial.size_bytes), source="measured")
    )


def accuracy_cell(trial: Trial) -> Cell:
    """Accuracy of the trial's file, run by its own runtime."""
    if trial.accuracy is None:
        return Cell(text="not trained")
    return Cell(text=format_figure("accuracy", trial.accuracy), source="measured", note="of the exported file")


def latency_cell(measurement: Measurement | None, name: str) -> Cell:
    """A percentile of the latency with its confidence interval."""
    figure = _percentile(measurement, name)
    if figure is None:
        return Cell(text=MISSING)
    note = ""
    if figure.lower is not None and figure.upper is not None:
        note = f"{format_duration(figure.lower / 1e3)} to {format_duration(figure.upper / 1e3)}"
    return Cell(text=format_duration(figure.value / 1e3), source="measured", note=note)


def _percentile(measurement: Measurement | None, name: str) -> Figure | None:
    if measurement is None or measurement.latency is None:
        return None
    found: Figure | None = getattr(measurement.latency, name)
    return found


def _percentile_number(measurement: Measurement | None, name: str) -> float | None:
    figure = _percentile(measurement, name)
    return None if figure is None else figure.value


def _load_number(measurement: Measurement | None) -> float | None:
    return None if measurement is None or measurement.latency is None else measurement.latency.load_ms


def _load_cell(measurement: Measurement | None) -> Cell:
    load_ms = _load_number(measurement)
    return Cell(text=MISSING) if load_ms is None else Cell(text=format_duration(load_ms / 1e3), source="measured")


def _energy_number(measurement: Measurement | None) -> float | None:
    if measurement is None or measurement.energy is None:
        return None
    energy = measurement.energy
    return energy.net_mj if energy.net_mj is not None else energy.gross_mj


def energy_cell(measurement: Measurement | None) -> Cell:
    """Energy of one inference."""
    number = _energy_number(measurement)
    if measurement is None or measurement.energy is None or number is None:
        return Cell(text=MISSING)
    energy = measurement.energy
    note = "idle power subtracted" if energy.net_mj is not None else "idle power included"
    return Cell(text=format_energy(number / 1e3), source=energy.provenance.value, note=note)


def _memory_number(measurement: Measurement | None) -> float | None:
    return None if measurement is None or measurement.memory is None else float(measurement.memory.peak_bytes)


def memory_cell(measurement: Measurement | None) -> Cell:
    """Highest memory of the process that ran the model."""
    if measurement is None or measurement.memory is None:
        return Cell(text=MISSING)
    memory = measurement.memory
    note = f"{format_bytes(memory.baseline_bytes)} of it the runtime"
    return Cell(text=format_bytes(memory.peak_bytes), source=memory.provenance.value, note=note)


DEVICE_FIGURES = (
    DeviceFigure(
        title="latency p50",
        cell=lambda found: latency_cell(found, "p50_ms"),
        number=lambda found: _percentile_number(found, "p50_ms"),
    ),
    DeviceFigure(
        title="latency p95",
        cell=lambda found: latency_cell(found, "p95_ms"),
        number=lambda found: _percentile_number(found, "p95_ms"),
    ),
    DeviceFigure(title="energy per inference", cell=energy_cell, number=_energy_number),
    DeviceFigure(title="peak memory", cell=memory_cell, number=_memory_number),
    DeviceFigure(title="time to load", cell=_load_cell, number=_load_number),
)


def relative_change(before: float | None, after: float | None) -> str:
    """How much larger or smaller the later figure is, in percent; empty where one is missing."""
    if not before or after is None:
        return ""
    share = after / before - 1
    return "same" if abs(share) < 0.0005 else f"{share:+.1%}".replace("-", "−")


def difference(before: float | None, after: float | None) -> str:
    """How much higher or lower the later figure is; empty where one is missing."""
    if before is None or after is None:
        return ""
    return "same" if abs(after - before) < 5e-5 else f"{after - before:+.4f}".replace("-", "−")

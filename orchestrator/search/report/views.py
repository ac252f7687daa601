"""The parts of a report in words: each figure as text, with where it is from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.fleet.device import Device
from orchestrator.fleet.measurement import Measurement, Outcome
from orchestrator.quantity import format_bytes, format_duration
from orchestrator.search.budget import Verdict
from orchestrator.search.explanation import budget_title, explain_excess, explain_verdict, format_figure
from orchestrator.search.report.cells import (
    DEVICE_FIGURES,
    MISSING,
    Cell,
    accuracy_cell,
    difference,
    energy_cell,
    latency_cell,
    memory_cell,
    relative_change,
    size_cell,
)
from orchestrator.search.report.pictures import kind_of
from orchestrator.search.trial import Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A budget, and how much of it is used. Shares are of the bar's whole length."""

    title: str
    value: Cell
    limit: str
    held: bool
    used_fraction: float
    limit_fraction: float
    # How far it is beyond the limit; empty where it is held.
    excess: str
    # All of that in one sentence, for whoever cannot see the bar.
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One figure of the baseline and of the chosen trial."""

    title: str
    baseline: Cell
    chosen: Cell
    change: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceCells:
    """What one device found of a trial."""

    latency: Cell
    energy: Cell
    memory: Cell


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One trial in the table of all."""

    number: int
    title: str
    state: str
    kind: str
    is_chosen: bool
    size: str
    accuracy: str
    # By device, in the order of the devices.
    figures: tuple[DeviceCells, ...]
    trained: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PassView:
    """What one pass did."""

    title: str
    parameters: str
    weights: str
    operations: str
    bytes: str
    accuracy: str
    trained: str
    remarks: tuple[str, ...]
    # Of the weights' bytes before the first pass.
    left_fraction: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionsView:
    """What a device's figures hold under, as pairs of a name and a value."""

    device: str
    facts: tuple[tuple[str, str], ...]
    remarks: tuple[str, ...]


def size_shares(baseline: Trial | None, chosen: Trial | None) -> tuple[tuple[str, str, float], ...]:
    """Name, size and share of the larger one, for the baseline and the chosen trial."""
    shown = [("baseline", baseline), ("chosen", chosen)]
    sizes = [(name, trial.size_bytes) for name, trial in shown if trial is not None and trial.size_bytes]
    if baseline is chosen or len(sizes) < 2:
        return ()
    largest = max(size for _, size in sizes)
    return tuple((name, format_bytes(size), size / largest) for name, size in sizes)


def bars_of(trial: Trial, measurements: Mapping[str, Measurement]) -> tuple[Bar, ...]:
    """A bar for each budget that the trial was held against."""
    return tuple(_bar(verdict, measurements.get(verdict.device)) for verdict in trial.verdicts)


def comparison_of(
    baseline: Trial, chosen: Trial, measurements: Mapping[str, Mapping[str, Measurement]], devices: Sequence[str]
) -> tuple[Comparison, ...]:
    """Each figure of both, and how it changed."""
    rows = [
        Comparison(
            title="size",
            baseline=size_cell(baseline),
            chosen=size_cell(chosen),
            change=relative_change(baseline.size_bytes, chosen.size_bytes),
        ),
        Comparison(
            title="accuracy",
            baseline=accuracy_cell(baseline),
            chosen=accuracy_cell(chosen),
            change=difference(baseline.accuracy, chosen.accuracy),
        ),
    ]
    for device in devices:
        place = f" on {device}" if len(devices) > 1 else ""
        before = measurements.get(baseline.id, {}).get(device)
        after = measurements.get(chosen.id, {}).get(device)
        rows += [
            Comparison(
                title=figure.title + place,
                baseline=figure.cell(before),
                chosen=figure.cell(after),
                change=relative_change(figure.number(before), figure.number(after)),
            )
            for figure in DEVICE_FIGURES
        ]
    return tuple(rows)


def row_of(trial: Trial, measurements: Mapping[str, Measurement], devices: Sequence[str], *, is_chosen: bool) -> Row:
    """The trial as a row."""
    return Row(
        number=trial.number,
        title=trial.title,
        state=trial.state.value,
        kind=kind_of(trial),
        is_chosen=is_chosen,
        size="" if trial.size_bytes is None else format_bytes(trial.size_bytes),
        accuracy="" if trial.accuracy is None else format_figure("accuracy", trial.accuracy),
        figures=tuple(_device_cells(measurements.get(device)) for device in devices),
        trained="" if trial.train_s is None else format_duration(trial.train_s),
        why=trial.reason,
    )


def passes_of(trial: Trial) -> tuple[PassView, ...]:
    """What each pass of the trial's recipe did, in their order."""
    reports = json.loads(trial.passes_json)
    whole = reports[0]["before"]["weight_bytes"] if reports else 0
    return tuple(_pass_view(report, whole) for report in reports)


def conditions_of(device: Device, measurement: Measurement | None) -> ConditionsView:
    """What the device is, and how the chosen trial was measured on it."""
    facts = device.facts
    pairs = [
        ("hardware", " · ".join(filter(None, [facts.board or facts.cpu_model, facts.architecture]))),
        ("cores", str(facts.cpu_count) if facts.cpu_count else ""),
        ("memory", format_bytes(facts.memory_bytes) if facts.memory_bytes else ""),
        ("operating system", facts.operating_system),
        ("class", device.device_class),
    ]
    remarks: list[str] = []
    if measurement is not None:
        conditions = measurement.conditions
        pairs += [
            ("runtime", f"{conditions.runtime} {conditions.runtime_version}".strip()),
            ("provider", conditions.provider),
            ("threads", str(conditions.threads)),
            ("governor", conditions.governor),
            ("load average", f"{conditions.load_average:.2f}"),
            ("temperature", "" if conditions.temperature_c is None else f"{conditions.temperature_c:.0f} °C"),
            ("measured at", f"{measurement.measured_at:%Y-%m-%d %H:%M:%S} UTC"),
        ]
        if measurement.latency is not None:
            latency = measurement.latency
            steady = "reached" if latency.steady_state else "not reached"
            pairs += [
                ("timed inferences", f"{latency.sample_count:,} after {latency.warm_up_count:,} to warm up"),
                ("steady state", steady),
                ("quality", latency.quality.value),
            ]
            remarks += latency.remarks
        if measurement.energy is not None:
            energy = measurement.energy
            pairs.append(("energy from", f"{energy.meter}, {energy.provenance.value}, of the {energy.scope}"))
            remarks += [energy.remark] if energy.remark else []
    return ConditionsView(
        device=device.name, facts=tuple((name, value) for name, value in pairs if value), remarks=tuple(remarks)
    )


def _bar(verdict: Verdict, measurement: Measurement | None) -> Bar:
    value = verdict.value
    if verdict.budget == "accuracy":
        # An accuracy is read against the whole scale, a cost against its limit.
        whole = max(1.0, verdict.limit, value or 0.0)
    else:
        whole = max(verdict.limit, value or 0.0) or 1.0
    place = f" on {verdict.device}" if verdict.device else ""
    text = MISSING if value is None else format_figure(verdict.budget, value)
    return Bar(
        title=f"{budget_title(verdict.budget)}{place}",
        value=Cell(text=text, source=_source(verdict, measurement), note=_bound(verdict, measurement)),
        limit=format_figure(verdict.budget, verdict.limit),
        held=verdict.held,
        used_fraction=(value or 0.0) / whole,
        limit_fraction=verdict.limit / whole,
        excess=explain_excess(verdict),
        sentence=explain_verdict(verdict),
    )


def _source(verdict: Verdict, measurement: Measurement | None) -> str:
    if verdict.value is None:
        return ""
    if verdict.budget == "energy_mj" and measurement is not None and measurement.energy is not None:
        return measurement.energy.provenance.value
    if verdict.budget == "memory_bytes" and measurement is not None and measurement.memory is not None:
        return measurement.memory.provenance.value
    return "measured"


def _bound(verdict: Verdict, measurement: Measurement | None) -> str:
    """A latency is held by the upper end of its interval: what is shown is not what was counted most often."""
    p95 = measurement.latency.p95_ms if measurement is not None and measurement.latency is not None else None
    if verdict.budget != "latency_p95_ms" or p95 is None or p95.upper is None:
        return ""
    return "upper end of the 95% interval"


def _device_cells(measurement: Measurement | None) -> DeviceCells:
    """Empty where nothing was measured: the reason of the trial's end says why."""
    if measurement is None or measurement.outcome is not Outcome.OK:
        return DeviceCells(latency=Cell(text=""), energy=Cell(text=""), memory=Cell(text=""))
    return DeviceCells(
        latency=latency_cell(measurement, "p95_ms"),
        energy=energy_cell(measurement),
        memory=memory_cell(measurement),
    )


def _pass_view(report: Mapping[str, Any], whole: int) -> PassView:
    before, after = report["before"], report["after"]
    settings = {name: value for name, value in report["parameters"].items() if name != "pass"}
    return PassView(
        title=report["title"],
        parameters=", ".join(f"{name} {_plain(value)}" for name, value in settings.items()),
        weights=f"{before['parameters']:,} → {after['parameters']:,}",
        operations=f"{before['macs']:,} → {after['macs']:,}",
        bytes=f"{format_bytes(before['weight_bytes'])} → {format_bytes(after['weight_bytes'])}",
        accuracy=" → ".join("?" if a is None else f"{a:.4f}" for a in (before["accuracy"], after["accuracy"])),
        trained=format_duration(report["train_s"]) if report["train_s"] else "",
        remarks=tuple(report["remarks"]),
        left_fraction=min(1.0, after["weight_bytes"] / whole) if whole else 1.0,
    )


def _plain(value: object) -> str:
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)

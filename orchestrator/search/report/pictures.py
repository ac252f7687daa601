"""The pictures of a report: size against what a device measured, and size against accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.fleet.measurement import Measurement
from orchestrator.quantity import format_bytes
from orchestrator.search.explanation import format_figure
from orchestrator.search.report.scatter import Axis, Plot, Point, lay_out
from orchestrator.search.search import Search
from orchestrator.search.trial import Trial, TrialState


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A plot with its caption, and the same figures as rows of a table."""

    title: str
    caption: str
    plot: Plot | None
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def kind_of(trial: Trial) -> str:
    """How a trial looks in pictures and tables: by shape and by colour."""
    if trial.number == 0:
        return "baseline"
    return trial.state.value if trial.state.final else "running"


def latency_picture(
    search: Search,
    trials: Sequence[Trial],
    measurements: Mapping[str, Mapping[str, Measurement]],
    device: str,
    chosen: Trial | None,
) -> Picture:
    """Size against latency p95 on one device, with its confidence interval."""
    points, rows = [], []
    for trial in trials:
        measured = measurements.get(trial.id, {}).get(device)
        p95 = measured.latency.p95_ms if measured is not None and measured.latency is not None else None
        if p95 is None or trial.size_bytes is None:
            continue
        latency = format_figure("latency_p95_ms", p95.value)
        interval = ""
        if p95.lower is not None and p95.upper is not None:
            low, high = format_figure("latency_p95_ms", p95.lower), format_figure("latency_p95_ms", p95.upper)
            interval = f"{low} to {high}"
        rows.append((*_first_columns(trial), latency, interval))
        points.append(
            Point(
                x=trial.size_bytes,
                y=p95.value,
                y_low=p95.lower,
                y_high=p95.upper,
                label=str(trial.number),
                kind=kind_of(trial),
                title=f"{_name(trial)}: {format_bytes(trial.size_bytes)}, p95 {latency}",
                ringed=trial is chosen and trial.state is TrialState.FEASIBLE,
            )
        )
    budgets = search.spec.budgets.budgets()
    y_axis = Axis(
        title="latency p95",
        format=lambda value: format_figure("latency_p95_ms", value),
        limit=budgets.latency_p95_ms,
    )
    return Picture(
        title=f"Size and latency on {device}",
        caption=_caption("Further left is smaller, further down is faster.", trials, points, "latency"),
        plot=lay_out(points, x_axis=_size_axis(search), y_axis=y_axis),
        columns=("trial", "recipe", "state", "size", "latency p95", "95% interval"),
        rows=tuple(rows),
    )


def accuracy_picture(search: Search, trials: Sequence[Trial], chosen: Trial | None) -> Picture:
    """Size against the accuracy of the exported artifact."""
    baseline = next((trial for trial in trials if trial.number == 0), None)
    points, rows = [], []
    for trial in trials:
        if trial.accuracy is None or trial.size_bytes is None:
            continue
        rows.append((*_first_columns(trial), format_figure("accuracy", trial.accuracy)))
        points.append(
            Point(
                x=trial.size_bytes,
                y=trial.accuracy,
                label=str(trial.number),
                kind=kind_of(trial),
                title=f"{_name(trial)}: {format_bytes(trial.size_bytes)}, {format_figure('accuracy', trial.accuracy)}",
                ringed=trial is chosen and trial.state is TrialState.FEASIBLE,
            )
        )
    metric = search.metric_name or "accuracy"
    floor = search.spec.budgets.budgets().accuracy_floor(None if baseline is None else baseline.accuracy)
    y_axis = Axis(title=metric, format=lambda value: format_figure("accuracy", value), limit=floor, is_floor=True)
    return Picture(
        title=f"Size and {metric}",
        caption=_caption("Further left is smaller, further up is better.", trials, points, metric),
        plot=lay_out(points, x_axis=_size_axis(search), y_axis=y_axis),
        columns=("trial", "recipe", "state", "size", metric),
        rows=tuple(rows),
    )


def _size_axis(search: Search) -> Axis:
    return Axis(title="size of the artifact", format=format_bytes, limit=search.spec.budgets.budgets().size_bytes)


def _caption(reading: str, trials: Sequence[Trial], points: Sequence[Point], figure: str) -> str:
    missing = len(trials) - len(points)
    if not missing:
        return reading
    others = "1 candidate has" if missing == 1 else f"{missing} candidates have"
    return f"{reading} {others} no {figure}; the table of all trials says why."


def _first_columns(trial: Trial) -> tuple[str, ...]:
    return str(trial.number), trial.title, trial.state.value, format_bytes(trial.size_bytes or 0)


def _name(trial: Trial) -> str:
    return f"trial {trial.number}, {trial.title}"

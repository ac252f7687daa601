"""Profiles and comparisons, for programs and for people."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from agent.logs import printable
from agent.profiling.measurement import Conditions, Energy, Figure, Latency, Measurement, Memory
from agent.profiling.worker_protocol import Histogram
from agent.standalone.comparison import Comparison, Conclusion
from agent.standalone.profile import latency_of

_PERCENTILES = ("p50_ms", "p90_ms", "p95_ms", "p99_ms")
_BAR_WIDTH = 48
_MEBIBYTE = 1 << 20


def profile_document(measurement: Measurement, histogram: Histogram | None) -> dict[str, Any]:
    """The profile as JSON types: ``latency``, ``memory``, ``energy``, ``conditions``; null where there is no figure."""
    latency = latency_of(measurement)
    figures: dict[str, Figure | None] = {name: getattr(latency, name) for name in _PERCENTILES}
    rest = {name: value for name, value in asdict(latency).items() if name not in figures}
    return {
        "latency": {
            **{name: None if figure is None else figure.value for name, figure in figures.items()},
            "ci95": {
                name: None if figure is None else [figure.lower, figure.upper] for name, figure in figures.items()
            },
            **rest,
            "histogram": None if histogram is None else asdict(histogram),
        },
        "memory": None if measurement.memory is None else asdict(measurement.memory),
        "energy": None if measurement.energy is None else asdict(measurement.energy),
        "conditions": asdict(measurement.conditions),
    }


def comparison_document(
    comparison: Comparison, first: tuple[Path, Measurement], second: tuple[Path, Measurement]
) -> dict[str, Any]:
    """The comparison as JSON types."""
    return {
        "comparison": {
            "baseline": str(first[0]),
            "candidate": str(second[0]),
            "p50_ratio": comparison.ratio,
            "ci95": [comparison.lower, comparison.upper],
            "conclusion": comparison.conclusion.value,
            "pairs": [
                {"baseline_p50_ms": pair.first_ms, "candidate_p50_ms": pair.second_ms} for pair in comparison.pairs
            ],
            "disturbed_runs": comparison.disturbed_runs,
        },
        "conditions": {
            "baseline": asdict(first[1].conditions),
            "candidate": asdict(second[1].conditions),
        },
    }


def profile_text(path: Path, measurement: Measurement, histogram: Histogram | None) -> str:
    """The profile as a table with a histogram below."""
    latency = latency_of(measurement)
    rows = [("model", f"{path.name} on {_runner(measurement.conditions)}"), *_latency_rows(latency)]
    if measurement.memory is not None:
        rows.append(("memory", _memory_text(measurement.memory)))
    if measurement.energy is not None:
        rows += _energy_rows(measurement.energy)
    rows.append(("conditions", _conditions_text(measurement.conditions)))
    rows.append(("quality", latency.quality.value))
    rows += [("", f"- {remark}") for remark in latency.remarks]
    lines = [f"{name:<12}{printable(text)}" for name, text in rows]
    if histogram is not None:
        lines += ["", *histogram_lines(histogram)]
    return "\n".join(line.rstrip() for line in lines)


def comparison_text(comparison: Comparison, first: tuple[Path, Measurement], second: tuple[Path, Measurement]) -> str:
    """The comparison for people: each pair, and what they say together."""
    lines = [
        f"A  {first[0].name} on {_runner(first[1].conditions)}",
        f"B  {second[0].name} on {_runner(second[1].conditions)}",
        "",
        f"{'pair':>6}{'A p50 ms':>14}{'B p50 ms':>14}{'B / A':>10}",
    ]
    lines += [
        f"{number:>6}{pair.first_ms:>14.4f}{pair.second_ms:>14.4f}{pair.second_ms / pair.first_ms:>10.3f}"
        for number, pair in enumerate(comparison.pairs, start=1)
    ]
    lines += ["", f"B / A = {comparison.ratio:.3f}, 95 % interval {comparison.lower:.3f} to {comparison.upper:.3f}"]
    if comparison.conclusion is Conclusion.UNDECIDED:
        lines.append("no difference is shown: more pairs narrow the interval (--pairs)")
    else:
        lines.append(f"B is {comparison.conclusion.value} than A")
    if comparison.disturbed_runs:
        lines.append(f"{comparison.disturbed_runs} of {2 * len(comparison.pairs)} runs were disturbed")
    return "\n".join(printable(line) for line in lines)


def histogram_lines(histogram: Histogram) -> list[str]:
    """A bar a bin, the longest as wide as the terminal allows; what lies beyond the last bin is counted."""
    highest = max((*histogram.counts, histogram.beyond, 1))
    lines = [
        _bar(f"{histogram.lower_ms + index * histogram.width_ms:.4f} ms", count, highest)
        for index, count in enumerate(histogram.counts)
    ]
    if histogram.beyond:
        end_ms = histogram.lower_ms + len(histogram.counts) * histogram.width_ms
        lines.append(_bar(f"> {end_ms:.4f} ms", histogram.beyond, highest))
    return lines


def _bar(label: str, count: int, highest: int) -> str:
    # A bin with one sample shows as one: an outlier is what one looks for.
    width = max(round(count / highest * _BAR_WIDTH), 1 if count else 0)
    return f"{label:>16} |{'#' * width} {count or ''}"


def _latency_rows(latency: Latency) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for name in _PERCENTILES:
        figure: Figure | None = getattr(latency, name)
        if figure is None:
            text = "too few samples"
        else:
            text = f"{figure.value:.4f} ms"
            if figure.lower is not None and figure.upper is not None:
                text += f"   95 % interval {figure.lower:.4f} to {figure.upper:.4f}"
        rows.append(("latency" if not rows else "", f"{name.removesuffix('_ms')}   {text}"))
    rows.append(
        ("", f"mean  {latency.mean_ms:.4f} ms, least {latency.minimum_ms:.4f} ms, {latency.sample_count} samples")
    )
    rows.append(("", f"load  {latency.load_ms:.1f} ms, first inference {latency.first_inference_ms:.2f} ms"))
    return rows


def _memory_text(memory: Memory) -> str:
    peak, own = memory.peak_bytes / _MEBIBYTE, (memory.peak_bytes - memory.baseline_bytes) / _MEBIBYTE
    return f"peak {peak:.1f} MiB, {own:.1f} MiB of it for the model ({memory.provenance.value})"


def _energy_rows(energy: Energy) -> list[tuple[str, str]]:
    source = f"{energy.meter}, {energy.scope}, {energy.provenance.value}"
    if energy.net_mj is None or energy.gross_mj is None:
        return [("energy", f"no figure ({source})"), ("", f"- {energy.remark}")]
    text = f"{energy.net_mj:.3f} mJ above idle, {energy.gross_mj:.3f} mJ in all ({source})"
    rows = [("energy", text)]
    if energy.lower_mj is not None and energy.upper_mj is not None:
        rows.append(("", f"95 % interval {energy.lower_mj:.3f} to {energy.upper_mj:.3f} mJ above idle"))
    if energy.remark:
        rows.append(("", f"- {energy.remark}"))
    return rows


def _runner(conditions: Conditions) -> str:
    threads = "all processors" if conditions.threads == 0 else f"threads {conditions.threads}"
    return f"{conditions.runtime} {conditions.runtime_version} ({conditions.provider}), {threads}"


def _conditions_text(conditions: Conditions) -> str:
    parts = [f"load {conditions.load_average:.2f}"]
    if conditions.governor:
        parts.append(f"governor {conditions.governor}")
    if conditions.temperature_c is not None:
        parts.append(f"{conditions.temperature_c:.0f} °C at the start")
    return ", ".join(parts)

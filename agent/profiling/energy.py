"""Energy per inference from a meter's readings and the blocks of the worker. Pure functions.

Each idle block and the load block beside it give one figure; their mean is the figure, and how far they are apart gives
its interval. Where the power under load cannot be told from the idle power, there is no net figure.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from agent.meters.meter import MeterFacts, Quantity, Reading
from agent.profiling.measurement import Energy
from agent.profiling.worker_protocol import BlockKind, EnergyBlock

# Two-sided 95 % quantiles of Student's t, by degrees of freedom from 1.
_STUDENT_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
_LARGE_SAMPLE_T = 2.228
_LONGEST_GAP_INTERVALS = 3.0
_LOWEST_COVERAGE_FRACTION = 0.8
_GOOD_COVERAGE_FRACTION = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockEnergy:
    """What one block took.

    Attributes:
        energy_j: Integral of the power over the block.
        coverage_fraction: Share of the block in which the meter answered as often as it should.
    """

    energy_j: float
    coverage_fraction: float


def integrate(
    readings: Sequence[Reading], *, quantity: Quantity, begin_ns: int, end_ns: int, interval_s: float
) -> BlockEnergy:
    """The energy between two times: trapezoids on the actual times of reading, cut at the edges by interpolation.

    Args:
        readings: In the order of time.
        quantity: What a reading is.
        begin_ns: Where the block begins.
        end_ns: Where it ends.
        interval_s: The time that should lie between two readings; much longer gaps lower the coverage.
    """
    duration_s = (end_ns - begin_ns) / 1e9
    inside = [reading for reading in readings if begin_ns < reading.time_ns < end_ns]
    first, last = _value_at(readings, begin_ns), _value_at(readings, end_ns)
    edges_s = [0.0, *((reading.time_ns - begin_ns) / 1e9 for reading in inside), duration_s]
    longest_s = _LONGEST_GAP_INTERVALS * interval_s
    uncovered_s = sum(
        later - earlier - longest_s for earlier, later in pairwise(edges_s) if later - earlier > longest_s
    )
    if first is None or last is None:
        return BlockEnergy(energy_j=0.0, coverage_fraction=0.0)
    if quantity is Quantity.ENERGY_J:
        energy_j = last - first
    else:
        powers_w = [first, *(reading.value for reading in inside), last]
        energy_j = sum(
            (later_s - earlier_s) * (earlier_w + later_w) / 2
            for (earlier_s, later_s), (earlier_w, later_w) in zip(pairwise(edges_s), pairwise(powers_w), strict=True)
        )
    return BlockEnergy(energy_j=energy_j, coverage_fraction=max(0.0, 1 - uncovered_s / duration_s))


def energy_per_inference(
    blocks: Sequence[EnergyBlock],
    readings: Sequence[Reading],
    *,
    facts: MeterFacts,
    quantity: Quantity,
    interval_s: float,
    gain_error_fraction: float,
) -> Energy:
    """The figures of a run of idle and load blocks; without figures, and with the reason, where the meter cannot tell.

    The interval is that of the net figure, or of the gross one where there is no net figure. It holds the spread of the
    pairs (Student's t) and the meter's gain error; what the meter's scope leaves out is told, not added.
    """
    energies = [
        integrate(readings, quantity=quantity, begin_ns=block.begin_ns, end_ns=block.end_ns, interval_s=interval_s)
        for block in blocks
    ]
    coverage = min((energy.coverage_fraction for energy in energies), default=0.0)
    if coverage < _LOWEST_COVERAGE_FRACTION:
        return without_figures(facts, f"the meter answered in {coverage:.0%} of the time only")
    gross, net, power_differences_w = [], [], []
    for first in range(0, len(blocks), 2):
        idle, load = sorted((first, first + 1), key=lambda index: blocks[index].kind is BlockKind.LOAD)
        idle_w = energies[idle].energy_j / _duration_s(blocks[idle])
        load_w = energies[load].energy_j / _duration_s(blocks[load])
        # Watts times seconds per inference, in thousandths: millijoules.
        milliseconds = _duration_s(blocks[load]) * 1e3 / blocks[load].inferences
        gross.append(load_w * milliseconds)
        net.append((load_w - idle_w) * milliseconds)
        power_differences_w.append(load_w - idle_w)
    remarks = [] if coverage >= _GOOD_COVERAGE_FRACTION else [f"the meter answered in {coverage:.0%} of the time"]
    tells_net = statistics.fmean(power_differences_w) > _half_width(power_differences_w)
    if not tells_net:
        remarks.append("no net figure: the power under load cannot be told from the idle power")
    figures = net if tells_net else gross
    value = statistics.fmean(figures)
    half_width = _half_width(figures) + gain_error_fraction * abs(value)
    return Energy(
        gross_mj=statistics.fmean(gross),
        net_mj=value if tells_net else None,
        lower_mj=value - half_width,
        upper_mj=value + half_width,
        meter=facts.name,
        provenance=facts.provenance,
        scope=facts.scope,
        remark="; ".join(remarks),
    )


def without_figures(facts: MeterFacts, remark: str) -> Energy:
    """No figure, and why."""
    return Energy(
        gross_mj=None,
        net_mj=None,
        lower_mj=None,
        upper_mj=None,
        meter=facts.name,
        provenance=facts.provenance,
        scope=facts.scope,
        remark=remark,
    )


def _value_at(readings: Sequence[Reading], time_ns: int) -> float | None:
    """The value between the two readings around a time; None outside all readings."""
    before = [reading for reading in readings if reading.time_ns <= time_ns]
    after = [reading for reading in readings if reading.time_ns >= time_ns]
    if not before or not after:
        return None
    earlier, later = before[-1], after[0]
    if later.time_ns == earlier.time_ns:
        return earlier.value
    share = (time_ns - earlier.time_ns) / (later.time_ns - earlier.time_ns)
    return earlier.value + share * (later.value - earlier.value)


def _half_width(values: Sequence[float]) -> float:
    """Half of the 95 % interval of the mean; without bound for a single value."""
    if len(values) < 2:
        return math.inf
    degrees = len(values) - 1
    quantile = _STUDENT_T[degrees - 1] if degrees <= len(_STUDENT_T) else _LARGE_SAMPLE_T
    return quantile * statistics.stdev(values) / math.sqrt(len(values))


def _duration_s(block: EnergyBlock) -> float:
    return (block.end_ns - block.begin_ns) / 1e9

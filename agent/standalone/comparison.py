"""Which of two models is faster here: pairs of short runs, interleaved, each in a fresh process.

One after the other, a model that is measured while the device is warmer looks slower. In the order A, B, B, A, A, B … a
steady drift weighs on both alike. Fresh processes, because where the loader puts things changes a latency by percents,
and is the same for a whole process.

Source: T. Kalibera and R. Jones, "Rigorous Benchmarking in Reasonable Time", 2013, for repeating at the level of
processes; here the pairs are the repetitions, and the interval is Student's t over the logarithms of their ratios.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

from agent.errors import NotMeasuredError
from agent.profiling.measurement import Measurement, MeasureRequest, Quality
from agent.standalone.profile import LocalProfiler, latency_of, profile

LEAST_PAIRS, MOST_PAIRS = 3, 31

# A block is short: what counts is how many there are.
_BLOCK_SAMPLES = 50
_BLOCK_DURATION_S = 0.5
_BLOCK_MAXIMUM_S = 6.0

# Student's t, two-sided 95 %, for 1 to 30 degrees of freedom.
_STUDENT_T = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip


class Conclusion(str, Enum):
    """What the interval allows to say of the second model."""

    FASTER = "faster"
    SLOWER = "slower"
    UNDECIDED = "no difference shown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """The medians of two runs that were neighbours."""

    first_ms: float
    second_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The second model's latency as a multiple of the first's.

    Attributes:
        ratio: Geometric mean over the pairs; below 1 the second model is faster.
        lower: Lower end of the 95 % interval.
        upper: Upper end of the 95 % interval.
        conclusion: Which is faster, where the interval leaves no doubt.
        pairs: In the order in which they were measured.
        disturbed_runs: Runs whose conditions were not quiet.
    """

    ratio: float
    lower: float
    upper: float
    conclusion: Conclusion
    pairs: tuple[Pair, ...]
    disturbed_runs: int


async def compare(
    profiler: LocalProfiler,
    first: tuple[Path, MeasureRequest],
    second: tuple[Path, MeasureRequest],
    *,
    pairs: int,
    on_progress: Callable[[str], None],
) -> tuple[Comparison, Measurement, Measurement]:
    """The comparison, and the last measurement of each model, for its conditions.

    Raises:
        NotMeasuredError: A model could not be measured.
        ConfigurationError: The machine's lock cannot be used.
    """
    found: dict[int, Measurement] = {}
    measured: list[Pair] = []
    disturbed = 0
    for index in range(pairs):
        medians: dict[int, float] = {}
        for which in order_in_pair(index):
            path, request = (first, second)[which]
            on_progress(f"pair {index + 1} of {pairs}: {path.name}")
            found[which] = await profile(profiler, path, _block(request), on_progress=lambda stage: None)
            latency = latency_of(found[which])
            if latency.p50_ms is None:
                raise NotMeasuredError(f"{path}: too slow to be compared: fewer than six inferences in a run")
            medians[which] = latency.p50_ms.value
            disturbed += latency.quality is Quality.LOW
        measured.append(Pair(first_ms=medians[0], second_ms=medians[1]))
    return comparison_of(measured, disturbed_runs=disturbed), found[0], found[1]


def order_in_pair(index: int) -> tuple[int, int]:
    """Which model comes first in the pair of this index: A, B, then B, A, then A, B again."""
    return (0, 1) if index % 2 == 0 else (1, 0)


def comparison_of(pairs: Sequence[Pair], *, disturbed_runs: int) -> Comparison:
    """What the pairs say. At least two, at most 31."""
    logarithms = [math.log(pair.second_ms / pair.first_ms) for pair in pairs]
    mean = statistics.fmean(logarithms)
    reach = _STUDENT_T[len(pairs) - 2] * statistics.stdev(logarithms) / math.sqrt(len(pairs))
    lower, upper = math.exp(mean - reach), math.exp(mean + reach)
    conclusion = Conclusion.FASTER if upper < 1 else Conclusion.SLOWER if lower > 1 else Conclusion.UNDECIDED
    return Comparison(
        ratio=math.exp(mean),
        lower=lower,
        upper=upper,
        conclusion=conclusion,
        pairs=tuple(pairs),
        disturbed_runs=disturbed_runs,
    )


def _block(request: MeasureRequest) -> MeasureRequest:
    return replace(
        request,
        minimum_samples=min(request.minimum_samples, _BLOCK_SAMPLES),
        minimum_duration_s=_BLOCK_DURATION_S,
        maximum_duration_s=_BLOCK_MAXIMUM_S,
    )

"""Statistics of latencies: percentiles with honest intervals, and the trend test that ends a warm-up.

Pure functions. They use numpy, so only the worker imports them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy
from numpy.typing import NDArray

CONFIDENCE = 0.95
_TAIL = (1 - CONFIDENCE) / 2
_BLOCK_COUNT = 100
_RESAMPLE_COUNT = 400
# A binomial has no mass worth counting beyond this many standard deviations.
_REACH_DEVIATIONS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Percentile:
    """A percentile with its two-sided 95 % confidence interval."""

    value: float
    lower: float
    upper: float


def minimum_count(quantile: float) -> int:
    """The least number of samples that gives a finite two-sided 95 % interval.

    It is 6 for p50, 36 for p90, 72 for p95, and 368 for p99. With fewer, even the smallest or the largest sample lies
    on the wrong side of the true quantile too often.
    """
    rarer = min(quantile, 1 - quantile)
    return math.ceil(math.log(_TAIL) / math.log(1 - rarer))


def order_statistic_ranks(count: int, quantile: float) -> tuple[int, int] | None:
    """The ranks (from 1) of the sorted samples that enclose the quantile with at least 95 % probability.

    Distribution-free and exact for independent samples: the number of samples below the quantile is binomial. Each side
    errs with at most 2.5 %. None where there are too few samples.
    """
    if count < minimum_count(quantile):
        return None
    first, masses = _binomial(count, quantile)
    below = numpy.cumsum(masses)
    # The lower rank l errs when fewer than l samples are below: P(X <= l - 1) must stay within the tail.
    lower = first + int(numpy.searchsorted(below, _TAIL, side="right"))
    # The upper rank u errs when at least u samples are below: P(X >= u) must stay within the tail.
    above = numpy.cumsum(masses[::-1])
    upper = first + len(masses) - int(numpy.searchsorted(above, _TAIL, side="right"))
    return max(lower, 1), min(upper, count)


def percentile(samples: NDArray[Any], quantile: float, *, seed: int = 0) -> Percentile | None:
    """The percentile of ``samples`` (in the order in which they were taken); None where there are too few.

    Its interval encloses two: the exact order-statistic interval, and that of a block bootstrap, which is the wider one
    when neighbouring samples are alike, as they are when a clock or a temperature drifts.
    """
    ranks = order_statistic_ranks(len(samples), quantile)
    if ranks is None:
        return None
    ordered = numpy.sort(samples)
    value = float(numpy.quantile(ordered, quantile))
    bootstrap = block_bootstrap_interval(samples, quantile, seed=seed)
    return Percentile(
        value=value,
        lower=min(float(ordered[ranks[0] - 1]), bootstrap[0], value),
        upper=max(float(ordered[ranks[1] - 1]), bootstrap[1], value),
    )


def block_bootstrap_interval(samples: NDArray[Any], quantile: float, *, seed: int = 0) -> tuple[float, float]:
    """The 95 % interval of the quantile over resamples of whole blocks of consecutive samples.

    Source: H. R. Künsch, "The Jackknife and the Bootstrap for General Stationary Observations", 1989; here the blocks
    do not overlap, and there are at most 100 of them.
    """
    count = len(samples)
    block_count = min(_BLOCK_COUNT, count)
    order = numpy.argsort(samples, kind="stable")
    ordered = samples[order]
    block_of_ordered = order * block_count // count
    generator = numpy.random.default_rng(seed)
    quantiles = numpy.empty(_RESAMPLE_COUNT)
    for index in range(_RESAMPLE_COUNT):
        # How often each block was drawn weighs its samples: no resample is ever written out or sorted.
        weights = generator.multinomial(block_count, numpy.full(block_count, 1 / block_count))
        cumulative = numpy.cumsum(weights[block_of_ordered])
        quantiles[index] = ordered[numpy.searchsorted(cumulative, quantile * cumulative[-1])]
    lower, upper = numpy.quantile(quantiles, [_TAIL, 1 - _TAIL])
    return float(lower), float(upper)


def trend_probability(values: Sequence[float]) -> float:
    """The two-sided probability that values without a trend look as ordered as these; small means a trend.

    Source: H. B. Mann, "Nonparametric Tests Against Trend", 1945, by the normal approximation, ties ignored.
    """
    count = len(values)
    if count < 3:
        return 1.0
    score = sum(
        (later > earlier) - (later < earlier) for index, earlier in enumerate(values) for later in values[index + 1 :]
    )
    deviation = math.sqrt(count * (count - 1) * (2 * count + 5) / 18)
    distance = max(abs(score) - 1, 0) / deviation
    return math.erfc(distance / math.sqrt(2))


def _binomial(count: int, probability: float) -> tuple[int, NDArray[Any]]:
    """The masses of a binomial around its mean, and the value of the first of them."""
    mean = count * probability
    reach = _REACH_DEVIATIONS * math.sqrt(count * probability * (1 - probability)) + 1
    first = max(0, math.floor(mean - reach))
    last = min(count, math.ceil(mean + reach))
    logarithms = [
        math.lgamma(count + 1)
        - math.lgamma(value + 1)
        - math.lgamma(count - value + 1)
        + value * math.log(probability)
        + (count - value) * math.log1p(-probability)
        for value in range(first, last + 1)
    ]
    return first, numpy.exp(numpy.array(logarithms))

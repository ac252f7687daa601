"""How latencies are spread: counts in bins of equal width, and those beyond the last bin."""

from __future__ import annotations

from typing import Any

import numpy
from numpy.typing import NDArray

from agent.profiling.worker_protocol import Histogram

BIN_COUNT = 24
# Beyond it lie the few that were preempted; with them on the scale, all others would share one bin.
_LAST_QUANTILE = 0.95


def histogram_of(samples_ms: NDArray[Any]) -> Histogram:
    """The spread of ``samples_ms``, from the least of them to the 95th percentile."""
    first, last = float(samples_ms.min()), float(numpy.quantile(samples_ms, _LAST_QUANTILE))
    # Where all are alike to the clock, a bin still needs a width.
    width_ms = max((last - first) / BIN_COUNT, first * 1e-6, 1e-9)
    bins = ((samples_ms - first) / width_ms).astype(int)
    # The percentile itself belongs to the last bin.
    bins[(bins == BIN_COUNT) & (samples_ms <= last)] = BIN_COUNT - 1
    counts = numpy.bincount(numpy.minimum(bins, BIN_COUNT), minlength=BIN_COUNT + 1)
    return Histogram(
        lower_ms=first, width_ms=width_ms, counts=tuple(int(count) for count in counts[:-1]), beyond=int(counts[-1])
    )

"""The latency protocol, inside the worker: warm-up to a steady state, timed windows, and what disturbed them.

Nothing but the model runs while it is timed: samples go to memory that is there already, Python's garbage collector is
off, and the machine is asked for its state only between inferences.
"""

from __future__ import annotations

import gc
import math
import statistics
import time
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy
from numpy.typing import NDArray

from agent.profiling.contention import BUCKET_NS
from agent.profiling.host import Host
from agent.profiling.inputs import Sample
from agent.profiling.quality import Observations
from agent.profiling.statistics import trend_probability
from agent.profiling.watch import RunWatch
from agent.runtimes.runtime import Model

WINDOW_COUNT = 5

_BATCH_NS = 50_000_000
_LEAST_IN_BATCH = 3
_LEAST_WARM_UP_COUNT = 10
_AGREEING_BATCHES = 3
_AGREEMENT_FRACTION = 0.02
_TREND_BATCHES = 8
_TREND_SIGNIFICANCE = 0.05

# Below this, reading the clock would be a visible part of the figure; then several inferences are timed together.
_SHORTEST_SINGLE_NS = 50_000
_SHORTEST_BLOCK_NS = 1_000_000
# Not counted after the machine was asked for its state, which pushes the model out of the caches.
_UNCOUNTED_AFTER_PAUSE = 3
_SPARE_CAPACITY = 1.5


class Exercise:
    """A model with the inputs that take turns in it."""

    def __init__(self, model: Model, samples: Sequence[Sample]) -> None:
        self._model = model
        self._feeds = [sample.inputs for sample in samples]
        self._turn = 0
        self.run: Callable[[], None] = model.run
        model.bind(self._feeds[0])

    def advance(self) -> None:
        """Binds the next inputs; nothing happens where there is one set only."""
        if len(self._feeds) > 1:
            self._turn = (self._turn + 1) % len(self._feeds)
            self._model.bind(self._feeds[self._turn])


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmUp:
    """How the model was brought to its steady state."""

    count: int
    steady_state: bool
    typical_ns: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """When a timed run ends: both minima met, or the maximum passed."""

    minimum_samples: int
    minimum_duration_s: float
    maximum_duration_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedRun:
    """Samples in the order in which they were taken, and what was observed meanwhile.

    Attributes:
        samples_ns: Nanoseconds per inference, ``(sample_count,) float64``.
        block_size: Inferences per sample; above 1 a sample is a mean.
        observations: What speaks for or against the run.
        duration_s: How long it took.
    """

    samples_ns: NDArray[Any]
    block_size: int
    observations: Observations
    duration_s: float


def warm_up(exercise: Exercise, *, minimum_s: float, maximum_s: float) -> WarmUp:
    """Runs the model until batches agree and show no trend, or the time is up."""
    clock = time.perf_counter_ns
    began = clock()
    count = 0
    medians: list[float] = []
    while True:
        batch: list[int] = []
        batch_began = now = clock()
        while len(batch) < _LEAST_IN_BATCH or now - batch_began < _BATCH_NS:
            exercise.advance()
            begin = clock()
            exercise.run()
            now = clock()
            batch.append(now - begin)
        count += len(batch)
        medians.append(statistics.median(batch))
        elapsed_s = (now - began) / 1e9
        if count >= _LEAST_WARM_UP_COUNT and elapsed_s >= minimum_s and is_steady(medians):
            return WarmUp(count=count, steady_state=True, typical_ns=statistics.median(medians[-_AGREEING_BATCHES:]))
        if elapsed_s >= maximum_s:
            return WarmUp(count=count, steady_state=False, typical_ns=statistics.median(medians[-_AGREEING_BATCHES:]))


def is_steady(batch_medians: Sequence[float]) -> bool:
    """Whether the last batches agree within 2 %, and the last eight show no significant trend."""
    latest = batch_medians[-_AGREEING_BATCHES:]
    if len(latest) < _AGREEING_BATCHES:
        return False
    spread = (max(latest) - min(latest)) / min(latest)
    return spread <= _AGREEMENT_FRACTION and trend_probability(batch_medians[-_TREND_BATCHES:]) > _TREND_SIGNIFICANCE


def time_model(
    exercise: Exercise, plan: Plan, warmed: WarmUp, host: Host, on_progress: Callable[[str], None]
) -> TimedRun:
    """Times the model in five windows, and looks at the machine between them."""
    block_size = _block_size(warmed.typical_ns)
    sample_s = warmed.typical_ns * block_size / 1e9
    wanted = max(plan.minimum_samples, math.ceil(plan.minimum_duration_s / sample_s))
    timings = array("q", bytes(8 * (math.ceil(wanted * _SPARE_CAPACITY) + WINDOW_COUNT)))
    # A slow inference fills the caches by itself.
    uncounted = _UNCOUNTED_AFTER_PAUSE if warmed.typical_ns < BUCKET_NS else 0
    edges = [0]
    began = time.perf_counter_ns()
    deadline = began + int(plan.maximum_duration_s * 1e9)
    watch = RunWatch(host)
    gc.collect()
    gc.disable()
    try:
        while len(edges) == 1 or (len(edges) <= WINDOW_COUNT and time.perf_counter_ns() < deadline):
            for _ in range(uncounted):
                exercise.advance()
                exercise.run()
            window = _Window(
                first=edges[-1],
                target=math.ceil(plan.minimum_samples * len(edges) / WINDOW_COUNT),
                duration_ns=int(plan.minimum_duration_s * 1e9 / WINDOW_COUNT),
                deadline=deadline,
                block_size=block_size,
            )
            edges.append(_time_window(exercise, timings, window, watch))
            watch.end_window()
            on_progress(f"timing {edges[-1]} of {max(wanted, edges[-1])}")
    finally:
        gc.enable()
    samples_ns = numpy.array(timings[: edges[-1]], dtype=numpy.float64) / block_size
    return TimedRun(
        samples_ns=samples_ns,
        block_size=block_size,
        duration_s=(time.perf_counter_ns() - began) / 1e9,
        observations=watch.observations(
            steady_state=warmed.steady_state,
            drift_fraction=_drift_fraction(samples_ns, edges),
            complete=len(samples_ns) >= plan.minimum_samples,
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Window:
    """One of the five parts of a run: from sample ``first`` until both its minima are met, or the run's deadline."""

    first: int
    target: int
    duration_ns: int
    deadline: int
    block_size: int


def _time_window(exercise: Exercise, timings: array[int], window: _Window, watch: RunWatch) -> int:
    """Times into ``timings``; the count of samples so far."""
    clock, run, advance = time.perf_counter_ns, exercise.run, exercise.advance
    capacity, block_size, index = len(timings), window.block_size, window.first
    watch.begin_window()
    now = clock()
    window_end, bucket_end = now + window.duration_ns, now + BUCKET_NS
    while index < capacity:
        advance()
        if block_size == 1:
            begin = clock()
            run()
            now = clock()
        else:
            begin = clock()
            for _ in range(block_size):
                run()
            now = clock()
        timings[index] = now - begin
        index += 1
        if now >= bucket_end:
            watch.end_bucket(now)
            bucket_end = clock() + BUCKET_NS
        if (now >= window_end and index >= window.target) or now >= window.deadline:
            break
    watch.end_bucket(now)
    return index


def _block_size(typical_ns: float) -> int:
    return 1 if typical_ns >= _SHORTEST_SINGLE_NS else math.ceil(_SHORTEST_BLOCK_NS / max(typical_ns, 1.0))


def _drift_fraction(samples_ns: NDArray[Any], edges: Sequence[int]) -> float:
    """How much slower the last window's median is than the first's."""
    if len(edges) < 3 or edges[1] == 0 or edges[-1] == edges[-2]:
        return 0.0
    first = numpy.median(samples_ns[: edges[1]])
    last = numpy.median(samples_ns[edges[-2] : edges[-1]])
    return float(last / first - 1)

"""Measure first, then train: what is cheap to know is known of all candidates before the first of them is trained.

Size is free and devices take seconds, so all that remains uncertain when it comes to training is accuracy. The next
candidate is the one with the greatest expected gain: the size that it would save, times the probability that its
accuracy holds.

That probability comes from a noisy bisection: somewhere there is a number of weights below which accuracy is lost, each
training is evidence for where, and near that place any training may mislead, because the order of accuracies is not
quite that of weights (in measurements, about every sixth pair of small networks was the other way round).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from orchestrator.search.samplers.sampler import Candidate, Effort, Knowledge, Sampler

# How far from the threshold a candidate's accuracy is still uncertain, in the logarithm of its weights.
_BLUR = 0.25
# How often a candidate far from it is a surprise all the same.
_SURPRISE = 0.01
_GRID = 64


class MeasureFirst(Sampler):
    """Builds all, measures all, extremes first; trains by expected gain, and only what no unmeasured one may beat."""

    def wanted(self, knowledge: Knowledge) -> tuple[str, ...]:
        """Candidates to confirm, to build, and to measure and train by expected gain."""
        remaining = [candidate for candidate in knowledge.candidates if candidate.effort is not Effort.OVER]
        confirm = [candidate for candidate in remaining if candidate.effort is Effort.CONFIRM]
        build = [candidate for candidate in remaining if candidate.effort is Effort.BUILD]
        gain = _expected_gain(knowledge)
        undecided = [candidate for candidate in remaining if candidate.effort in (Effort.MEASURE, Effort.TRAIN)]
        undecided.sort(key=lambda candidate: (-gain(candidate), candidate.number))
        # One that is not measured yet may turn out better than those that are: they wait for it.
        promising = [candidate for candidate in undecided[: knowledge.slots] if gain(candidate) > 0]
        train = [candidate for candidate in promising if candidate.effort is Effort.TRAIN]
        measure = _extremes_first(
            [candidate for candidate in undecided if candidate.effort is Effort.MEASURE], knowledge
        )
        return tuple(candidate.id for candidate in [*confirm, *build, *measure, *train])


def _extremes_first(by_gain: list[Candidate], knowledge: Knowledge) -> list[Candidate]:
    """The candidates by gain, but the largest and the smallest of all before the rest.

    If neither end of the space holds a device budget, the user can be told so after two measurements.
    """
    built = [candidate for candidate in knowledge.candidates if candidate.size_bytes is not None]
    if not built:
        return by_gain
    smallest = min(built, key=lambda candidate: (candidate.size_bytes or 0, candidate.number))
    ends = {0, smallest.number}
    return sorted(by_gain, key=lambda candidate: candidate.number not in ends)


def _expected_gain(knowledge: Knowledge) -> Callable[[Candidate], float]:
    """Logarithm of the size that a candidate would save, times the probability that its accuracy holds.

    A candidate that only waits to be confirmed is taken for feasible already: it seldom fails, and if it does, those
    that it held back are looked at again.
    """
    sizes = [candidate.size_bytes for candidate in knowledge.candidates if candidate.size_bytes]
    almost = [candidate.size_bytes for candidate in knowledge.candidates if candidate.effort is Effort.CONFIRM]
    reference = min(filter(None, [knowledge.best_size_bytes, *almost]), default=2 * max(sizes, default=1))
    holds = _probability_of_holding(knowledge)

    def gain(candidate: Candidate) -> float:
        if not candidate.size_bytes:
            return 0.0
        return max(0.0, math.log(reference / candidate.size_bytes)) * holds(_capacity(candidate))

    return gain


def _probability_of_holding(knowledge: Knowledge) -> Callable[[float], float]:
    """From the logarithm of a candidate's weights, the probability that its accuracy reaches the floor."""
    floor = knowledge.accuracy_floor
    if floor is None:
        return lambda _: 1.0
    seen = [
        (_capacity(candidate), candidate.accuracy >= floor)
        for candidate in knowledge.candidates
        if candidate.accuracy is not None and candidate.size_bytes
    ]
    capacities = [_capacity(candidate) for candidate in knowledge.candidates if candidate.size_bytes]
    thresholds = _grid(min(capacities, default=0.0), max(capacities, default=0.0))
    weights = _posterior(thresholds, seen)

    def holds(capacity: float) -> float:
        return sum(
            weight * _likelihood(capacity, True, threshold)
            for weight, threshold in zip(weights, thresholds, strict=True)
        )

    return holds


def _posterior(thresholds: Sequence[float], seen: Sequence[tuple[float, bool]]) -> list[float]:
    weights = [math.prod(_likelihood(capacity, held, threshold) for capacity, held in seen) for threshold in thresholds]
    total = sum(weights)
    return [weight / total for weight in weights]


def _likelihood(capacity: float, held: bool, threshold: float) -> float:
    """Probability of the outcome, if accuracy is lost below the threshold."""
    holds = _SURPRISE + (1 - 2 * _SURPRISE) * 0.5 * (1 + math.tanh((capacity - threshold) / (2 * _BLUR)))
    return holds if held else 1 - holds


def _grid(low: float, high: float) -> list[float]:
    """Thresholds from just below the smallest candidate to just above the largest, evenly in the logarithm."""
    margin = (high - low) / _GRID or 1.0
    return [low - margin + (high - low + 2 * margin) * position / (_GRID - 1) for position in range(_GRID)]


def _capacity(candidate: Candidate) -> float:
    """Logarithm of the weights; where nobody counted them, of as many as would fill the file in single precision."""
    return math.log(candidate.parameters or max(1, (candidate.size_bytes or 0) // 4))

"""Measure first, then train: what is cheap to know is known of a candidate before it is trained.

Size is free and devices take seconds, so all that remains uncertain when it comes to training is accuracy. The next
candidate is the one with the greatest expected gain: the size that it would save, times the probability that its
accuracy holds, by what the trainings so far tell of it (``orchestrator.search.surrogate``). The search ends of its own
accord when no training is worth it any more (``orchestrator.search.gain``), but never without a feasible candidate as
long as there is one left to try.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache

from orchestrator.search.gain import Gain, Prospect, expected_gains
from orchestrator.search.samplers.sampler import Candidate, Effort, Knowledge, Sampler
from orchestrator.search.surrogate import AccuracySurrogate, Point

# As long as nothing is feasible, savings count from the largest candidate's size times this.
_HEADROOM = 1.5


class MeasureFirst(Sampler):
    """Builds all, measures all, extremes first; trains by expected gain, and only what no unmeasured one may beat."""

    def wanted(self, knowledge: Knowledge) -> tuple[str, ...]:
        """Candidates to confirm, to build, and to measure and train by expected gain."""
        remaining = [candidate for candidate in knowledge.candidates if candidate.effort is not Effort.OVER]
        confirm = [candidate for candidate in remaining if candidate.effort is Effort.CONFIRM]
        build = [candidate for candidate in remaining if candidate.effort is Effort.BUILD]
        gains = _gains(knowledge)
        undecided = [
            candidate
            for candidate in remaining
            if candidate.effort in (Effort.MEASURE, Effort.TRAIN) and candidate.training_key in gains
        ]
        undecided.sort(
            key=lambda candidate: (
                -gains[candidate.training_key].saving, candidate.size_bytes or 0, candidate.number,
            )
        )  # fmt: skip
        # One that is not measured yet may turn out better than those that are: they wait for it.
        best = list(dict.fromkeys(candidate.training_key for candidate in undecided))[: knowledge.slots]
        unknown = {candidate.training_key for candidate in undecided if candidate.effort is Effort.MEASURE}
        train = [
            candidate
            for candidate in undecided
            if candidate.training_key in best
            and candidate.training_key not in unknown
        ]  # fmt: skip
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


def _gains(knowledge: Knowledge) -> Mapping[str, Gain]:
    """What each training is expected to gain, of those that are worth it.

    A candidate that only waits to be confirmed is taken for feasible already: it seldom fails, and if it does, those
    that it held back are looked at again. As long as nothing is feasible, every training is worth it.
    """
    sized = [candidate for candidate in knowledge.candidates if candidate.size_bytes is not None]
    if not sized:
        return {}
    almost = [candidate.size_bytes or 0 for candidate in sized if candidate.effort is Effort.CONFIRM]
    feasible = [*almost, *([] if knowledge.best_size_bytes is None else [knowledge.best_size_bytes])]
    largest = max(max(1, candidate.size_bytes or 0) for candidate in sized)
    prospects = [
        Prospect(training=candidate.training_key, size_bytes=candidate.size_bytes or 0, chance=chance)
        for candidate, chance in zip(sized, _chances(sized, knowledge.accuracy_floor), strict=True)
        if candidate.effort in (Effort.MEASURE, Effort.TRAIN)
    ]
    gains = expected_gains(prospects, reference_bytes=min(feasible, default=_HEADROOM * largest))
    if not feasible:
        return gains
    return {training: gain for training, gain in gains.items() if gain.worthwhile}


def _chances(candidates: Sequence[Candidate], floor: float | None) -> Sequence[float]:
    """For each candidate, the probability that its accuracy reaches the floor."""
    if floor is None:
        return [1.0] * len(candidates)
    # Without positions that compare, candidates differ by their weights alone.
    comparable = len({len(candidate.position) for candidate in candidates}) == 1 and candidates[0].position
    points = tuple(
        Point(
            position=candidate.position if comparable else (_capacity(candidate),),
            capacity=_capacity(candidate),
            kind=candidate.kind,
            training=candidate.training_key,
        )
        for candidate in candidates
    )
    return _foretold(points, tuple(candidate.accuracy for candidate in candidates), floor)


@lru_cache(maxsize=16)
def _foretold(points: tuple[Point, ...], accuracies: tuple[float | None, ...], floor: float) -> tuple[float, ...]:
    """The same for the same: while devices measure, nothing new is known of accuracies."""
    seen = [(place, accuracy) for place, accuracy in enumerate(accuracies) if accuracy is not None]
    chances = AccuracySurrogate(points).chances(
        [place for place, _ in seen], [accuracy for _, accuracy in seen], floor=floor
    )
    return tuple(chances.tolist())


def _capacity(candidate: Candidate) -> float:
    """Logarithm of the weights; where nobody counted them, of as many as would fill the file in single precision."""
    return math.log(max(1, candidate.parameters or (candidate.size_bytes or 0) // 4))

"""Tree-structured Parzen estimators of Optuna: what a sampler that knows nothing of costs does, for comparison.

Source: J. Bergstra et al., "Algorithms for Hyper-Parameter Optimization", 2011, in Optuna's implementation with
constraints. We differ in that it chooses among candidates that are there already: the nearest to what it suggests.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from orchestrator.errors import InvalidInputError
from orchestrator.search.samplers.sampler import Candidate, Effort, Knowledge, Sampler

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution

# What a candidate costs in distance if it is of another kind than the one that was suggested.
_OTHER_KIND = 10.0


class Tpe(Sampler):
    """Goes through the candidates as Optuna suggests, each to its end before the next one begins.

    Raises:
        InvalidInputError: Optuna is not installed.
    """

    def __init__(self) -> None:
        try:
            self._optuna = importlib.import_module("optuna")
        except ImportError as error:
            message = "sampler: 'tpe' needs Optuna, which is not installed"
            raise InvalidInputError(message, hint="pip install 'fleetfit[optuna]'") from error

    def wanted(self, knowledge: Knowledge) -> tuple[str, ...]:
        """All that are not over: those in hand first, then the nearest to the suggestion."""
        remaining = [candidate for candidate in knowledge.candidates if candidate.effort is not Effort.OVER]
        axes = len(min((candidate.position for candidate in knowledge.candidates), key=len, default=()))
        kinds = sorted({candidate.kind for candidate in knowledge.candidates})
        space = self._space(knowledge.candidates, axes, kinds)
        trial = self._study(knowledge, axes, space).ask(space)
        place = [float(trial.params[f"position_{axis}"]) for axis in range(axes)]

        def order(candidate: Candidate) -> tuple[bool, float, int]:
            distance = math.dist(candidate.position[:axes], place)
            in_hand = candidate.effort in (Effort.TRAIN, Effort.CONFIRM)
            return not in_hand, distance + _OTHER_KIND * (candidate.kind != trial.params["kind"]), candidate.number

        return tuple(candidate.id for candidate in sorted(remaining, key=order))

    def _space(self, candidates: Sequence[Candidate], axes: int, kinds: list[str]) -> dict[str, BaseDistribution]:
        distributions = self._optuna.distributions
        space: dict[str, BaseDistribution] = {"kind": distributions.CategoricalDistribution(kinds)}
        for axis in range(axes):
            values = [candidate.position[axis] for candidate in candidates]
            space[f"position_{axis}"] = distributions.FloatDistribution(min(values), max(values))
        return space

    def _study(self, knowledge: Knowledge, axes: int, space: dict[str, BaseDistribution]) -> Study:
        """A study that knows what is known, and is made anew each time, so that nothing must be kept."""
        self._optuna.logging.set_verbosity(self._optuna.logging.ERROR)
        over = [
            candidate
            for candidate in knowledge.candidates
            if candidate.size_bytes and (candidate.accuracy is not None or candidate.effort is Effort.OVER)
        ]
        # A seed alone would have it suggest the same again where all that was learned is that the last was no good.
        study: Study = self._optuna.create_study(
            sampler=self._optuna.samplers.TPESampler(seed=knowledge.seed + len(over))
        )
        for candidate in over:
            params: dict[str, float | str] = {"kind": candidate.kind}
            params |= {f"position_{axis}": candidate.position[axis] for axis in range(axes)}
            study.add_trial(
                self._optuna.trial.create_trial(
                    params=params,
                    distributions=space,
                    value=math.log(candidate.size_bytes or 1),
                    constraints=_constraints(candidate, knowledge.accuracy_floor),
                )
            )
        return study


def _constraints(candidate: Candidate, floor: float | None) -> dict[str, float]:
    """How far it is beyond its budgets; one that ended without being trained is told of as one that is."""
    if candidate.accuracy is None:
        return {"ruled out": 1.0}
    return {} if floor is None else {"accuracy": floor - candidate.accuracy}

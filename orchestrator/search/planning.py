"""What to do next in a search, from what is: pure, so that it is the same after a restart."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.search.samplers.sampler import Candidate, Effort, Knowledge, Sampler
from orchestrator.search.search import Search
from orchestrator.search.trial import Trial, TrialState

# What a trial needs in each state. A trial that a killed orchestrator left BUILDING is built anew.
_EFFORTS: Mapping[TrialState, Effort] = {
    TrialState.QUEUED: Effort.BUILD,
    TrialState.BUILDING: Effort.BUILD,
    TrialState.MEASURING: Effort.MEASURE,
    TrialState.TRAINING: Effort.TRAIN,
    TrialState.CONFIRMING: Effort.CONFIRM,
}
_ON_WORKERS = (Effort.BUILD, Effort.TRAIN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A trial whose next piece of work should begin now."""

    trial_id: str
    effort: Effort


def plan(
    search: Search, trials: Sequence[Trial], *, sampler: Sampler, running: Collection[str], slots: int
) -> tuple[Move, ...]:
    """The work to begin now.

    The baseline comes first, and nothing else is trained before its accuracy is known. Building and training take a
    slot each. Two trials of one structure are not measured at the same time, because the second can share what the
    first finds.

    Args:
        search: The search.
        trials: All of its trials by number.
        sampler: Decides which are wanted.
        running: Ids of the trials that somebody works on.
        slots: How many workers there are.
    """
    by_id = {trial.id: trial for trial in trials}
    baseline = trials[0]
    occupied = sum(1 for trial_id in running if _EFFORTS.get(by_id[trial_id].state) in _ON_WORKERS)
    measured_now = {by_id[trial_id].structure_sha256 for trial_id in running}
    moves: list[Move] = []
    wanted = sampler.wanted(knowledge_of(search, trials, running=running, slots=slots))
    for trial_id in dict.fromkeys([baseline.id, *wanted]):
        trial = by_id[trial_id]
        effort = _EFFORTS.get(trial.state)
        if effort is None or trial_id in running:
            continue
        if effort is Effort.TRAIN and baseline.accuracy is None and trial is not baseline:
            continue
        if effort is Effort.MEASURE:
            if trial.structure_sha256 in measured_now:
                continue
            measured_now.add(trial.structure_sha256)
        if effort in _ON_WORKERS:
            if occupied >= slots:
                continue
            occupied += 1
        moves.append(Move(trial_id=trial_id, effort=effort))
    return tuple(moves)


def knowledge_of(search: Search, trials: Sequence[Trial], *, running: Collection[str], slots: int) -> Knowledge:
    """What a sampler may know of the search."""
    best = next((trial for trial in trials if trial.id == search.best_trial_id), None)
    reports = [json.loads(trial.passes_json) for trial in trials]
    whole = max((int(found[0]["before"]["parameters"]) for found in reports if found), default=None)
    methods = sorted({report["name"] for found in reports for report in found if _log_share_left(report)})
    return Knowledge(
        candidates=tuple(
            Candidate(
                id=trial.id,
                number=trial.number,
                effort=_EFFORTS.get(trial.state, Effort.OVER),
                running=trial.id in running,
                size_bytes=trial.size_bytes,
                parameters=int(found[-1]["after"]["parameters"]) if found else _whole_if_built(trial, whole),
                accuracy=trial.accuracy,
                position=tuple(
                    sum(_log_share_left(report) for report in found if report["name"] == method) for method in methods
                ),
                # What leaves every weight in its place changes what it is written in.
                kind=" + ".join(report["title"] for report in found if not _log_share_left(report)),
            )
            for trial, found in zip(trials, reports, strict=True)
        ),
        best_size_bytes=None if best is None else best.size_bytes,
        accuracy_floor=search.spec.budgets.budgets().accuracy_floor(trials[0].accuracy),
        slots=slots,
        seed=search.spec.seed,
    )


def _log_share_left(report: Mapping[str, Any]) -> float:
    """Logarithm of the share of the weights that a pass left: 0 where it left all."""
    before, after = int(report["before"]["parameters"]), int(report["after"]["parameters"])
    return math.log(max(1, after) / max(1, before))


def _whole_if_built(trial: Trial, whole: int | None) -> int | None:
    """A recipe without passes keeps the whole model."""
    return whole if trial.size_bytes is not None else None

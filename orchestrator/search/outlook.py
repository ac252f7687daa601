"""What can be said of a search before it ends. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.search.budget import Verdict
from orchestrator.search.explanation import explain_verdict
from orchestrator.search.trial import Trial, TrialState

_MEASURED_AND_IN_THE_RACE = (TrialState.TRAINING, TrialState.CONFIRMING, TrialState.FEASIBLE)


def outlook(trials: Sequence[Trial]) -> str:
    """A warning where both ends of the space miss one budget of a device, and nothing between them holds it so far.

    It is no proof, because what lies between may be faster than both; so the rest is measured all the same, and
    nothing is trained meanwhile.
    """
    others = [trial for trial in trials if trial.number != 0 and trial.size_bytes is not None]
    if not others or any(trial.state in _MEASURED_AND_IN_THE_RACE for trial in others):
        return ""
    smallest = min(others, key=lambda trial: (trial.size_bytes or 0, trial.number))
    largest = trials[0]
    missed_by_largest = {_place(verdict) for verdict in largest.verdicts if not verdict.held}
    for verdict in smallest.verdicts:
        if verdict.device and not verdict.held and _place(verdict) in missed_by_largest:
            return f"a budget may be out of reach: of the smallest candidate, {explain_verdict(verdict)}"
    return ""


def _place(verdict: Verdict) -> tuple[str, str]:
    return verdict.budget, verdict.device

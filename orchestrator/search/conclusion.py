"""How a search ends: with the smallest feasible trial, or with the one that came closest and what it missed. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from orchestrator.quantity import format_bytes
from orchestrator.search.search import Search, SearchState
from orchestrator.search.trial import Trial, TrialState


def best_of(trials: Sequence[Trial]) -> Trial | None:
    """The smallest feasible trial; of equals the one with the lowest number."""
    feasible = [trial for trial in trials if trial.state is TrialState.FEASIBLE and trial.size_bytes is not None]
    return min(feasible, key=lambda trial: (trial.size_bytes, trial.number), default=None)


def closest_of(trials: Sequence[Trial]) -> Trial | None:
    """The infeasible trial that violates its budgets the least.

    A figure that is missing is worse than any excess; among equals, the trial that is known best counts.
    """
    judged = [trial for trial in trials if trial.state is TrialState.INFEASIBLE]
    return min(judged, key=_distance, default=None)


def conclude(search: Search, trials: Sequence[Trial], *, now: datetime, cut_short: str = "") -> Search:
    """The search, ended by what its trials came to.

    Args:
        search: As it is, running.
        trials: All of its trials.
        now: The present.
        cut_short: Why not every candidate was looked at to its end, as a clause; empty where each was.
    """
    best = best_of(trials)
    if best is not None:
        reason = _join(_praise(best, trials), cut_short)
        return replace(search, state=SearchState.SUCCEEDED, best_trial_id=best.id, reason=reason, finished_at=now)
    closest = closest_of(trials)
    return replace(
        search,
        state=SearchState.INFEASIBLE,
        closest_trial_id="" if closest is None else closest.id,
        reason=_join(_regret(closest, trials), cut_short),
        finished_at=now,
    )


def _praise(best: Trial, trials: Sequence[Trial]) -> str:
    baseline = next((trial for trial in trials if trial.number == 0), None)
    size_bytes = best.size_bytes or 0
    text = f"trial {best.number} ({best.title}) holds every budget with {format_bytes(size_bytes)}"
    if best.number != 0 and baseline is not None and baseline.size_bytes:
        text += f", {1 - size_bytes / baseline.size_bytes:.0%} smaller than the baseline"
    return text


def _regret(closest: Trial | None, trials: Sequence[Trial]) -> str:
    if closest is None:
        failed = next((trial for trial in trials if trial.state is TrialState.FAILED), None)
        return (
            f"no candidate was judged; trial {failed.number}: {failed.reason}" if failed else "no candidate was judged"
        )
    return f"no candidate holds every budget; the closest is trial {closest.number} ({closest.title}): {closest.reason}"


def _distance(trial: Trial) -> tuple[int, float, int, int]:
    excesses = [verdict.excess_fraction() for verdict in trial.verdicts]
    missing = sum(1 for excess in excesses if math.isinf(excess)) + (0 if any(excesses) else 1)
    return missing, sum(excess for excess in excesses if math.isfinite(excess)), -len(excesses), trial.number


def _join(text: str, cut_short: str) -> str:
    return f"{text}; {cut_short}" if cut_short else text

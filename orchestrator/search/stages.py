"""The stages of a trial as one pure function.

A trial, what happened to it, and what it is held against, give the trial as it is afterwards: its state, its verdicts,
and the reason for its end. A candidate ends at the first stage that rules it out, and the stages are in the order of
their cost. The baseline (trial 0) is looked at to the end all the same, because the others are compared with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from orchestrator.fleet.measurement import Measurement, Outcome
from orchestrator.search.budget import (
    Budgets,
    Verdict,
    held,
    judge_accuracy,
    judge_measurements,
    judge_size,
)
from orchestrator.search.explanation import explain_failed, explain_outcome
from orchestrator.search.trial import MOVES, Trial, TrialState


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What a trial is held against at one moment."""

    budgets: Budgets
    # Names of the devices that measure, by id.
    devices: Mapping[str, str]
    # Of the baseline's exported artifact; None until it is known.
    baseline_accuracy: float | None
    # The smallest feasible trial so far.
    best: Trial | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """A worker has taken the trial up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """The structure was exported with weights as they are."""

    format: str
    size_bytes: int
    structure_sha256: str
    draft_sha256: str
    passes_json: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Every device has measured the draft, or shares a measurement of the same structure; by device id."""

    measurements: Mapping[str, Measurement]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """The artifact is finished, and its accuracy is known."""

    artifact_sha256: str
    size_bytes: int
    structure_sha256: str
    passes_json: str
    accuracy: float
    train_s: float
    golden_sha256: str
    golden_tolerance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmed:
    """Every device has measured the finished artifact and compared its outputs; by device id."""

    measurements: Mapping[str, Measurement]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outdone:
    """A smaller trial is feasible."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """Something could not be done that must be done to judge the trial."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """Nobody wants to know any more."""

    reason: str


Event = Begun | Built | Measured | Trained | Confirmed | Outdone | Broken | Stopped


def step(trial: Trial, event: Event, standing: Standing, *, now: datetime) -> Trial:
    """The trial after the event.

    Raises:
        ValueError: The event cannot happen to a trial in this state.
    """
    handler = _STEPS.get((trial.state, type(event)))
    if handler is None:
        raise ValueError(f"a trial that is {trial.state.value} cannot have {type(event).__name__.lower()}")
    after = handler(trial, event, standing)
    if after.state is not trial.state and after.state not in MOVES[trial.state]:
        raise ValueError(f"a trial cannot move from {trial.state.value} to {after.state.value}")
    return replace(after, progress="", finished_at=now) if after.state.final else after


def outdone_by(trial: Trial, best: Trial | None) -> bool:
    """Whether the trial cannot win any more: a trial that is not larger is feasible. Never true of the baseline."""
    return _domination(trial, best) != ""


def _begin(trial: Trial, _: Begun, __: Standing) -> Trial:
    return replace(trial, state=TrialState.BUILDING, progress="waits for a worker")


def _build(trial: Trial, event: Built, standing: Standing) -> Trial:
    built = replace(
        trial,
        format=event.format,
        size_bytes=event.size_bytes,
        structure_sha256=event.structure_sha256,
        draft_sha256=event.draft_sha256,
        passes_json=event.passes_json,
        verdicts=judge_size(standing.budgets, event.size_bytes),
    )
    return _go_on(built, standing, TrialState.MEASURING, "waits for its turn to be measured")


def _measure(trial: Trial, event: Measured, standing: Standing) -> Trial:
    measured = _with_measurements(trial, event.measurements, standing)
    obstacle = _obstacle(event.measurements, standing, outputs_compared=False)
    return _go_on(measured, standing, TrialState.TRAINING, "waits for its turn to be trained", obstacle)


def _train(trial: Trial, event: Trained, standing: Standing) -> Trial:
    baseline_accuracy = event.accuracy if trial.number == 0 else standing.baseline_accuracy
    if standing.budgets.accuracy_drop is not None and baseline_accuracy is None:
        raise ValueError("a drop of accuracy cannot be judged before the baseline's accuracy is known")
    judged = judge_size(standing.budgets, event.size_bytes)
    judged += judge_accuracy(standing.budgets, event.accuracy, baseline_accuracy)
    same_structure = event.structure_sha256 == trial.structure_sha256
    trained = replace(
        trial,
        artifact_sha256=event.artifact_sha256,
        size_bytes=event.size_bytes,
        structure_sha256=event.structure_sha256,
        # What was measured of another structure is not a measurement of this one.
        measurement_ids=trial.measurement_ids if same_structure else {},
        passes_json=event.passes_json,
        accuracy=event.accuracy,
        train_s=(trial.train_s or 0.0) + event.train_s,
        golden_sha256=event.golden_sha256,
        golden_tolerance=event.golden_tolerance,
        verdicts=_merged(trial.verdicts, judged),
    )
    if trial.number == 0 and not held(trained.verdicts):
        reason = trial.reason or explain_failed(trained.verdicts)
        return replace(trained, state=TrialState.INFEASIBLE, reason=reason)
    return _go_on(trained, standing, TrialState.CONFIRMING, "waits to be confirmed")


def _confirm(trial: Trial, event: Confirmed, standing: Standing) -> Trial:
    confirmed = _with_measurements(trial, event.measurements, standing)
    obstacle = _obstacle(event.measurements, standing, outputs_compared=True)
    if trial.number == 0 and (obstacle or not held(confirmed.verdicts)):
        return replace(confirmed, state=TrialState.INFEASIBLE, reason=obstacle or explain_failed(confirmed.verdicts))
    return _go_on(confirmed, standing, TrialState.FEASIBLE, "", obstacle)


def _outdo(trial: Trial, _: Outdone, standing: Standing) -> Trial:
    domination = _domination(trial, standing.best)
    if not domination:
        raise ValueError("a trial is outdone only by a feasible one that is not larger")
    return replace(trial, state=TrialState.DOMINATED, reason=domination)


def _break(trial: Trial, event: Broken, _: Standing) -> Trial:
    return replace(trial, state=TrialState.FAILED, reason=event.reason)


def _stop(trial: Trial, event: Stopped, _: Standing) -> Trial:
    return replace(trial, state=TrialState.CANCELLED, reason=event.reason)


_RUNNING = (TrialState.BUILDING, TrialState.MEASURING, TrialState.TRAINING, TrialState.CONFIRMING)

_STEPS: Mapping[tuple[TrialState, type[Any]], Callable[[Trial, Any, Standing], Trial]] = {
    (TrialState.QUEUED, Begun): _begin,
    (TrialState.QUEUED, Stopped): _stop,
    (TrialState.BUILDING, Built): _build,
    (TrialState.MEASURING, Measured): _measure,
    (TrialState.TRAINING, Trained): _train,
    (TrialState.CONFIRMING, Confirmed): _confirm,
    **{(state, Outdone): _outdo for state in _RUNNING if state is not TrialState.BUILDING},
    **{(state, Broken): _break for state in _RUNNING},
    **{(state, Stopped): _stop for state in _RUNNING},
}


def _go_on(trial: Trial, standing: Standing, onward: TrialState, progress: str, obstacle: str = "") -> Trial:
    """The trial in its next stage, unless something rules it out. What stood in the baseline's way is kept in mind."""
    if trial.number != 0:
        if obstacle or not held(trial.verdicts):
            return replace(trial, state=TrialState.INFEASIBLE, reason=obstacle or explain_failed(trial.verdicts))
        if domination := _domination(trial, standing.best):
            return replace(trial, state=TrialState.DOMINATED, reason=domination)
    return replace(trial, state=onward, progress=progress, reason=obstacle)


def _domination(trial: Trial, best: Trial | None) -> str:
    """Why the trial cannot win any more; empty where it can."""
    if best is None or best.size_bytes is None or trial.size_bytes is None:
        return ""
    if trial.number == 0 or trial.id == best.id or trial.size_bytes < best.size_bytes:
        return ""
    return f"{trial.size_bytes:,} bytes are not fewer than the {best.size_bytes:,} of trial {best.number}"


def _with_measurements(trial: Trial, measurements: Mapping[str, Measurement], standing: Standing) -> Trial:
    by_name = {name: measurements.get(device_id) for device_id, name in standing.devices.items()}
    return replace(
        trial,
        measurement_ids={device_id: measurement.result_id for device_id, measurement in measurements.items()},
        verdicts=_merged(trial.verdicts, judge_measurements(standing.budgets, by_name)),
    )


def _obstacle(measurements: Mapping[str, Measurement], standing: Standing, *, outputs_compared: bool) -> str:
    """Why a device could not do its part, whatever the budgets are; empty where all could."""
    for device_id, name in standing.devices.items():
        measurement = measurements.get(device_id)
        if measurement is None:
            return f"{name} did not measure it"
        if measurement.outcome is not Outcome.OK:
            return explain_outcome(name, measurement)
        if outputs_compared and (measurement.numerics is None or not measurement.numerics.checked):
            return f"{name} did not compare its outputs with the reference"
    return ""


def _merged(earlier: tuple[Verdict, ...], newer: tuple[Verdict, ...]) -> tuple[Verdict, ...]:
    """All verdicts, of two on the same figure the newer one."""
    merged = {(verdict.budget, verdict.device): verdict for verdict in earlier}
    merged.update({(verdict.budget, verdict.device): verdict for verdict in newer})
    return tuple(merged.values())

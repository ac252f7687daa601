"""Searches, trials and what was found out about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fleetfit.v1 import searches_pb2

from orchestrator.api.convert.measurements import measurement_to_proto
from orchestrator.api.convert.scalars import enum_number, timestamp
from orchestrator.fleet.measurement import Measurement
from orchestrator.search.budget import Budgets, Verdict
from orchestrator.search.search import Search
from orchestrator.search.trial import Trial


def budgets_to_proto(budgets: Budgets) -> searches_pb2.Budgets:
    """The message of the budgets; what there is no budget for is absent."""
    return searches_pb2.Budgets(
        latency_p95_ms=budgets.latency_p95_ms,
        energy_mj=budgets.energy_mj,
        memory_bytes=budgets.memory_bytes,
        size_bytes=budgets.size_bytes,
        accuracy=budgets.accuracy,
        accuracy_drop=budgets.accuracy_drop,
    )


def search_to_proto(search: Search, *, trials: Sequence[Trial], device_names: Mapping[str, str]) -> searches_pb2.Search:
    """The message of a search.

    Args:
        search: The search.
        trials: Its trials, for the counts.
        device_names: By id; of a device that was removed, the id is shown.
    """
    return searches_pb2.Search(
        id=search.id,
        name=search.name,
        state=searches_pb2.SearchState.ValueType(enum_number(searches_pb2.SearchState.DESCRIPTOR, search.state)),
        reason=search.reason,
        budgets=budgets_to_proto(search.spec.budgets.budgets()),
        devices=[device_names.get(device_id, device_id) for device_id in search.device_ids],
        workload_filename=search.workload_filename,
        metric_name=search.metric_name,
        baseline_trial_id=search.baseline_trial_id,
        best_trial_id=search.best_trial_id,
        closest_trial_id=search.closest_trial_id,
        created_at=timestamp(search.created_at),
        finished_at=timestamp(search.finished_at),
        trainings=sum(trial.train_s is not None for trial in trials),
        measurements=len({result_id for trial in trials for result_id in trial.measurement_ids.values()}),
    )


def trial_to_proto(trial: Trial, *, measurements: Mapping[str, Measurement]) -> searches_pb2.Trial:
    """The message of a trial, with the newest measurement of each device by the device's name."""
    return searches_pb2.Trial(
        id=trial.id,
        number=trial.number,
        title=trial.title,
        recipe_json=trial.recipe_json,
        state=searches_pb2.TrialState.ValueType(enum_number(searches_pb2.TrialState.DESCRIPTOR, trial.state)),
        reason=trial.reason,
        progress=trial.progress,
        size_bytes=trial.size_bytes,
        accuracy=trial.accuracy,
        train_s=trial.train_s,
        measurements={device: measurement_to_proto(each) for device, each in measurements.items()},
        verdicts=[_verdict_to_proto(verdict) for verdict in trial.verdicts],
        artifact_sha256=trial.artifact_sha256,
        format=trial.format,
    )


def _verdict_to_proto(verdict: Verdict) -> searches_pb2.BudgetVerdict:
    return searches_pb2.BudgetVerdict(
        budget=verdict.budget,
        limit=verdict.limit,
        value=verdict.value,
        held=verdict.held,
        device=verdict.device,
    )

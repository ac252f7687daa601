"""Searches that have ended, with everything a report shows of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from orchestrator.fleet.device import Device
from orchestrator.fleet.measurement import Conditions, Measurement, MeasureRequest, Outcome
from orchestrator.search.conclusion import conclude
from orchestrator.search.search import Search, SearchState
from orchestrator.search.spec import parse_search_spec
from orchestrator.search.stages import Begun, Built, Confirmed, Measured, Outdone, Standing, Trained, outdone_by, step
from orchestrator.search.trial import Trial, TrialState
from tests.fakes.small_world import Facts, a_measurement
from tests.orchestrator.search.scenes import NOW, a_device


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    search: Search
    trials: tuple[Trial, ...]
    measurements: Mapping[str, Mapping[str, Measurement]]
    devices: tuple[Device, ...]


# Title, what it comes to, and what it is after training.
TABLE: Mapping[str, Facts] = {
    "baseline": Facts(size_bytes=58_412, accuracy=0.9889, latency_ms=0.482, memory_bytes=61_200_000, energy_mj=1.9),
    "int8": Facts(size_bytes=22_904, accuracy=0.9861, latency_ms=0.391, memory_bytes=60_100_000, energy_mj=1.5),
    "int8_dynamic": Facts(size_bytes=20_118, accuracy=0.9833, latency_ms=0.655, memory_bytes=60_800_000, energy_mj=2.4),
    "structured_prune 0.5": Facts(size_bytes=18_240, accuracy=0.9806, latency_ms=0.241, energy_mj=0.92),
    "low_rank 0.4": Facts(size_bytes=31_880, accuracy=0.9833, latency_ms=0.402, energy_mj=1.6),
    "distill 0.5": Facts(size_bytes=18_233, accuracy=0.9778, latency_ms=0.239, energy_mj=0.9),
    "structured_prune 0.25 + int8": Facts(size_bytes=15_330, accuracy=0.9833, latency_ms=0.302, energy_mj=1.1),
    "structured_prune 0.5 + int8": Facts(size_bytes=9_714, accuracy=0.9806, latency_ms=0.211, energy_mj=0.8),
    "structured_prune 0.65 + int8": Facts(size_bytes=7_020, accuracy=0.9639, latency_ms=0.183, energy_mj=0.7),
    "low_rank 0.4 + int8": Facts(size_bytes=14_106, accuracy=0.9806, latency_ms=0.522, energy_mj=1.9),
    "distill 0.35 + int8": Facts(size_bytes=6_512, accuracy=0.9722, latency_ms=0.177, energy_mj=0.66),
    "structured_prune 0.5 + low_rank 0.5 + int8": Facts(size_bytes=8_850, outcome=Outcome.CRASHED),
}


def a_finished_search(
    *, budgets: Mapping[str, str] | None = None, devices: tuple[Device, ...] = (a_device("pi-4b"),)
) -> Finished:
    """A search whose trials went through the real stages, one after the other."""
    spec = parse_search_spec(
        {
            "name": "digits",
            "devices": [device.name for device in devices],
            "budgets": budgets
            or {"latency_p95": "0.5ms", "energy": "2mJ", "memory": "64MiB", "size": "32kB", "accuracy_drop": "2%"},
        }
    )
    search = Search(
        id="0b6cf5d2-8a37-4a55-bd0e-0d7e8a4e8f11",
        name="digits",
        state=SearchState.RUNNING,
        spec=spec,
        workload_filename="digits.py",
        workload_sha256="b" * 64,
        device_ids=tuple(device.id for device in devices),
        created_at=NOW,
        metric_name="accuracy",
    )
    trials: list[Trial] = []
    measurements: dict[str, dict[str, Measurement]] = {}
    for number, (title, facts) in enumerate(TABLE.items()):
        trial, found = _judged(search, devices, trials, number, title, facts)
        trials.append(trial)
        measurements[trial.id] = {device.name: found[device.id] for device in devices if device.id in found}
        best = min(
            (each for each in trials if each.state is TrialState.FEASIBLE),
            key=lambda each: each.size_bytes or 0,
            default=None,
        )
        search = replace(search, best_trial_id="" if best is None else best.id, baseline_trial_id=trials[0].id)
    ended = conclude(search, trials, now=NOW + timedelta(minutes=2, seconds=41))
    return Finished(search=ended, trials=tuple(trials), measurements=measurements, devices=devices)


def _judged(
    search: Search, devices: tuple[Device, ...], earlier: list[Trial], number: int, title: str, facts: Facts
) -> tuple[Trial, Mapping[str, Measurement]]:
    standing = Standing(
        budgets=search.spec.budgets.budgets(),
        devices={device.id: device.name for device in devices},
        baseline_accuracy=earlier[0].accuracy if earlier else None,
        best=next((trial for trial in earlier if trial.id == search.best_trial_id), None),
    )
    found: Mapping[str, Measurement] = {}
    trial = Trial(
        id=f"trial-{number}",
        search_id=search.id,
        number=number,
        title=title,
        recipe_json="{}",
        state=TrialState.QUEUED,
        created_at=NOW,
        train_s=12.4 if number == 0 else None,
    )
    passes = passes_json(title, facts)
    artifact = {"size_bytes": facts.size_bytes, "structure_sha256": title, "passes_json": passes}
    while not trial.state.final:
        if outdone_by(trial, standing.best) and trial.state is TrialState.TRAINING:
            event: Any = Outdone()
        elif trial.state is TrialState.QUEUED:
            event = Begun()
        elif trial.state is TrialState.BUILDING:
            # The best one came while this one was measured.
            trial = step(
                trial, Built(format="onnx", draft_sha256="d", **artifact), replace(standing, best=None), now=NOW
            )
            continue
        elif trial.state is TrialState.MEASURING:
            found = {device.id: _measured(facts, device, confirming=False) for device in devices}
            trial = step(trial, Measured(measurements=found), replace(standing, best=None), now=NOW)
            continue
        elif trial.state is TrialState.TRAINING:
            event = Trained(
                artifact_sha256="5f1c" * 16,
                accuracy=facts.accuracy,
                train_s=0.0 if number == 0 else 6.3,
                golden_sha256="e" * 64,
                golden_tolerance=1e-3,
                **artifact,
            )
        else:
            found = {device.id: _measured(facts, device, confirming=True) for device in devices}
            event = Confirmed(measurements=found)
        trial = step(trial, event, standing, now=NOW)
    return trial, found


def _measured(facts: Facts, device: Device, *, confirming: bool) -> Measurement:
    slower = 1.0 if device.name == "pi-4b" else 1.7
    measurement = a_measurement(
        replace(facts, latency_ms=facts.latency_ms * slower),
        result_id=f"result of {facts.size_bytes} on {device.name}",
        device_id=device.id,
        device_class=device.device_class,
        request=MeasureRequest(
            artifact_sha256="a" * 64,
            artifact_size_bytes=facts.size_bytes,
            artifact_format="onnx",
            golden_sha256="e" * 64 if confirming else "",
        ),
        confirming=confirming,
    )
    conditions = Conditions(
        runtime="onnxruntime",
        runtime_version="1.32.0",
        provider="CPUExecutionProvider",
        threads=1,
        governor="performance",
        load_average=0.08,
        temperature_c=46.0,
    )
    return replace(measurement, conditions=conditions)


def passes_json(title: str, facts: Facts) -> str:
    """What the library would report, with invented figures that fall from pass to pass."""
    if title == "baseline":
        return "[]"
    reports = []
    before = {"parameters": 13_706, "macs": 862_400, "weight_bytes": 54_824, "accuracy": 0.9889}
    steps = title.split(" + ")
    for index, text in enumerate(steps):
        name, _, amount = text.partition(" ")
        share = 0.27 if name.startswith("int8") else 0.55
        structural = not name.startswith("int8")
        after = {
            "parameters": round(before["parameters"] * share) if structural else before["parameters"],
            "macs": round(before["macs"] * share) if structural else before["macs"],
            "weight_bytes": round(before["weight_bytes"] * share),
            "accuracy": facts.accuracy if index + 1 == len(steps) else before["accuracy"] - 0.004,
        }
        reports.append(
            {
                "name": name,
                "title": text,
                "parameters": {"pass": name, "amount": float(amount)}
                if amount
                else {"pass": name, "per_channel": True},
                "before": before,
                "after": after,
                "train_s": 6.3 if structural else 0.0,
                "remarks": ["one training for both"] if len(steps) > 2 and index == 1 else [],
            }
        )
        before = after
    return json.dumps(reports)

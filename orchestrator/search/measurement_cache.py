"""Measurements that need not be made again: devices care about the structure of a graph, hardly about its weights."""

from __future__ import annotations

from orchestrator.fleet.device import Device
from orchestrator.fleet.measurement import Measurement, Outcome, Quality
from orchestrator.search.spec import MeasuringSpec
from orchestrator.search.trial import Trial
from orchestrator.storage.transaction import Transaction


def shared_measurement(tx: Transaction, trial: Trial, device: Device, settings: MeasuringSpec) -> Measurement | None:
    """The newest measurement of the trial's structure on the device's class that was made as ``settings`` ask for.

    Only good ones are shared: a crash or a busy device may be gone the next time.
    """
    runtime = _runtime(device, trial.format, settings)
    for other in reversed(tx.trials.by_structure(trial.structure_sha256)):
        for result_id in other.measurement_ids.values():
            measurement = tx.measurements.get(result_id)
            if measurement.device_class == device.device_class and _fits(measurement, runtime, settings):
                return measurement
    return None


def _runtime(device: Device, artifact_format: str, settings: MeasuringSpec) -> str:
    """Name of the runtime that the device would use; empty where it has none."""
    if settings.runtime:
        return settings.runtime
    return next((runtime.name for runtime in device.facts.runtimes if artifact_format in runtime.formats), "")


def _fits(measurement: Measurement, runtime: str, settings: MeasuringSpec) -> bool:
    latency = measurement.latency
    return (
        measurement.outcome is Outcome.OK
        and latency is not None
        and latency.quality is Quality.HIGH
        and latency.sample_count >= settings.samples
        and measurement.conditions.runtime == runtime
        and measurement.conditions.threads == settings.threads
    )

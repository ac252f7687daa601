"""Profiling one model file on this device."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from agent.errors import ConfigurationError, NotMeasuredError
from agent.profiling.measurement import Latency, Measurement, MeasureRequest, Outcome

_FORMATS = {".onnx": "onnx", ".tflite": "tflite"}


class LocalProfiler(Protocol):
    """What measures; ``agent.profiling.profiler.Profiler`` on a real device."""

    async def measure(
        self,
        request: MeasureRequest,
        *,
        artifact_path: Path,
        golden_path: Path | None,
        on_progress: Callable[[str], None],
    ) -> Measurement:
        """What came of it.

        Raises:
            ConfigurationError: The machine's lock cannot be used.
        """
        ...


def request_for(path: Path, *, runtime: str, threads: int, samples: int) -> MeasureRequest:
    """What to measure of the model at ``path``.

    Raises:
        ConfigurationError: It is no model that a runtime could take.
    """
    artifact_format = _FORMATS.get(path.suffix.lower())
    if artifact_format is None:
        raise ConfigurationError(
            f"'{path}' is neither .onnx nor .tflite", hint="the name's end says which runtime takes the model"
        )
    try:
        size_bytes = path.stat().st_size
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}", hint="check the path") from error
    return MeasureRequest(
        artifact_sha256="",
        artifact_size_bytes=size_bytes,
        artifact_format=artifact_format,
        runtime=runtime,
        threads=threads,
        minimum_samples=samples,
    )


async def profile(
    profiler: LocalProfiler, path: Path, request: MeasureRequest, *, on_progress: Callable[[str], None]
) -> Measurement:
    """The measurement of the model, which is one that succeeded.

    Raises:
        NotMeasuredError: The model could not be measured.
        ConfigurationError: The machine's lock cannot be used.
    """
    measurement = await profiler.measure(request, artifact_path=path, golden_path=None, on_progress=on_progress)
    if measurement.outcome is not Outcome.OK:
        outcome = measurement.outcome.value.replace("_", " ")
        raise NotMeasuredError(
            f"{path}: {outcome}: {measurement.detail}" if measurement.detail else f"{path}: {outcome}",
            hint="'fleetfit-agent doctor' says which runtimes work on this device",
        )
    return measurement


def latency_of(measurement: Measurement) -> Latency:
    """The latency, which a measurement that succeeded has."""
    if measurement.latency is None:
        raise NotMeasuredError("the measurement has no latency")
    return measurement.latency

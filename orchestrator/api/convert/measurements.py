"""Measurements: what is asked of a device, and what it answers. Each figure that comes in is checked."""

from __future__ import annotations

from fleetfit.v1 import measurement_pb2

from orchestrator.api.convert.devices import provenance_from_proto, provenance_to_proto
from orchestrator.api.convert.scalars import (
    duration,
    enum_member,
    enum_number,
    finite,
    identifier,
    moment,
    not_negative,
    sha256,
    texts,
    timestamp,
)
from orchestrator.errors import InvalidInputError
from orchestrator.fleet.measurement import (
    Conditions,
    Energy,
    Figure,
    Latency,
    Measurement,
    MeasureRequest,
    Memory,
    Numerics,
    Outcome,
    Quality,
)
from orchestrator.fleet.plain_text import plain_text

_DETAIL_LIMIT = 500


def request_to_proto(request: MeasureRequest) -> measurement_pb2.MeasureRequest:
    """The message of what a device is asked to measure."""
    message = measurement_pb2.MeasureRequest(
        artifact=measurement_pb2.ArtifactRef(
            sha256=request.artifact_sha256, size_bytes=request.artifact_size_bytes, format=request.artifact_format
        ),
        runtime=request.runtime,
        threads=request.threads,
        minimum_samples=request.minimum_samples,
        minimum_duration=duration(request.minimum_duration_s),
        maximum_duration=duration(request.maximum_duration_s),
        golden_tolerance=request.golden_tolerance,
    )
    if request.golden_sha256:
        golden = measurement_pb2.ArtifactRef(
            sha256=request.golden_sha256, size_bytes=request.golden_size_bytes, format="npz"
        )
        message.golden.CopyFrom(golden)
    return message


def measurement_from_proto(message: measurement_pb2.Measurement, *, device_id: str, device_class: str) -> Measurement:
    """What a device measured. Which one it was says its certificate, never the message.

    Raises:
        InvalidInputError: A figure is not a number or negative, a success has no latency, an outcome is unknown.
    """
    outcome = enum_member(Outcome, measurement_pb2.Outcome.DESCRIPTOR, message.outcome, name="outcome")
    if outcome is Outcome.OK and not message.HasField("latency"):
        raise InvalidInputError("a measurement that went well has no latency")
    return Measurement(
        result_id=identifier(message.result_id, name="result_id"),
        device_id=device_id,
        device_class=device_class,
        artifact_sha256=sha256(message.artifact_sha256, name="artifact_sha256"),
        outcome=outcome,
        measured_at=moment(message.measured_at, name="measured_at"),
        detail=plain_text(message.detail, limit=_DETAIL_LIMIT),
        latency=_latency_from_proto(message.latency) if message.HasField("latency") else None,
        energy=_energy_from_proto(message.energy) if message.HasField("energy") else None,
        memory=_memory_from_proto(message.memory) if message.HasField("memory") else None,
        numerics=_numerics_from_proto(message.numerics) if message.HasField("numerics") else None,
        conditions=_conditions_from_proto(message.conditions),
    )


def measurement_to_proto(measurement: Measurement) -> measurement_pb2.Measurement:
    """The message of a measurement."""
    return measurement_pb2.Measurement(
        result_id=measurement.result_id,
        artifact_sha256=measurement.artifact_sha256,
        outcome=measurement_pb2.Outcome.ValueType(enum_number(measurement_pb2.Outcome.DESCRIPTOR, measurement.outcome)),
        detail=measurement.detail,
        latency=None if measurement.latency is None else _latency_to_proto(measurement.latency),
        energy=None if measurement.energy is None else _energy_to_proto(measurement.energy),
        memory=None if measurement.memory is None else _memory_to_proto(measurement.memory),
        numerics=None if measurement.numerics is None else _numerics_to_proto(measurement.numerics),
        conditions=_conditions_to_proto(measurement.conditions),
        measured_at=timestamp(measurement.measured_at),
    )


def _latency_from_proto(message: measurement_pb2.Latency) -> Latency:
    return Latency(
        p50_ms=_figure_from_proto(message.p50_ms, name="p50_ms") if message.HasField("p50_ms") else None,
        p90_ms=_figure_from_proto(message.p90_ms, name="p90_ms") if message.HasField("p90_ms") else None,
        p95_ms=_figure_from_proto(message.p95_ms, name="p95_ms") if message.HasField("p95_ms") else None,
        p99_ms=_figure_from_proto(message.p99_ms, name="p99_ms") if message.HasField("p99_ms") else None,
        mean_ms=not_negative(message.mean_ms, name="mean_ms"),
        minimum_ms=not_negative(message.minimum_ms, name="minimum_ms"),
        sample_count=message.sample_count,
        load_ms=not_negative(message.load_ms, name="load_ms"),
        first_inference_ms=not_negative(message.first_inference_ms, name="first_inference_ms"),
        warm_up_count=message.warm_up_count,
        steady_state=message.steady_state,
        quality=enum_member(Quality, measurement_pb2.Quality.DESCRIPTOR, message.quality, name="quality"),
        remarks=texts(message.remarks),
    )


def _latency_to_proto(latency: Latency) -> measurement_pb2.Latency:
    return measurement_pb2.Latency(
        p50_ms=_figure_to_proto(latency.p50_ms),
        p90_ms=_figure_to_proto(latency.p90_ms),
        p95_ms=_figure_to_proto(latency.p95_ms),
        p99_ms=_figure_to_proto(latency.p99_ms),
        mean_ms=latency.mean_ms,
        minimum_ms=latency.minimum_ms,
        sample_count=latency.sample_count,
        load_ms=latency.load_ms,
        first_inference_ms=latency.first_inference_ms,
        warm_up_count=latency.warm_up_count,
        steady_state=latency.steady_state,
        quality=measurement_pb2.Quality.ValueType(enum_number(measurement_pb2.Quality.DESCRIPTOR, latency.quality)),
        remarks=latency.remarks,
    )


def _figure_from_proto(message: measurement_pb2.Figure, *, name: str) -> Figure:
    figure = Figure(
        value=not_negative(message.value, name=name),
        lower=finite(message.lower, name=name) if message.HasField("lower") else None,
        upper=finite(message.upper, name=name) if message.HasField("upper") else None,
    )
    if figure.upper is not None and figure.upper < figure.value:
        raise InvalidInputError(f"{name}: its interval ends below its value")
    return figure


def _figure_to_proto(figure: Figure | None) -> measurement_pb2.Figure | None:
    if figure is None:
        return None
    return measurement_pb2.Figure(value=figure.value, lower=figure.lower, upper=figure.upper)


def _energy_from_proto(message: measurement_pb2.Energy) -> Energy:
    return Energy(
        gross_mj=not_negative(message.gross_mj, name="gross_mj") if message.HasField("gross_mj") else None,
        # Idle power is subtracted: noise may leave less than nothing.
        net_mj=finite(message.net_mj, name="net_mj") if message.HasField("net_mj") else None,
        lower_mj=finite(message.lower_mj, name="lower_mj") if message.HasField("lower_mj") else None,
        upper_mj=finite(message.upper_mj, name="upper_mj") if message.HasField("upper_mj") else None,
        meter=plain_text(message.meter),
        provenance=provenance_from_proto(message.provenance),
        scope=plain_text(message.scope),
        remark=plain_text(message.remark, limit=_DETAIL_LIMIT),
    )


def _energy_to_proto(energy: Energy) -> measurement_pb2.Energy:
    return measurement_pb2.Energy(
        gross_mj=energy.gross_mj,
        net_mj=energy.net_mj,
        lower_mj=energy.lower_mj,
        upper_mj=energy.upper_mj,
        meter=energy.meter,
        provenance=provenance_to_proto(energy.provenance),
        scope=energy.scope,
        remark=energy.remark,
    )


def _memory_from_proto(message: measurement_pb2.Memory) -> Memory:
    return Memory(
        peak_bytes=message.peak_bytes,
        baseline_bytes=message.baseline_bytes,
        provenance=provenance_from_proto(message.provenance),
    )


def _memory_to_proto(memory: Memory) -> measurement_pb2.Memory:
    return measurement_pb2.Memory(
        peak_bytes=memory.peak_bytes,
        baseline_bytes=memory.baseline_bytes,
        provenance=provenance_to_proto(memory.provenance),
    )


def _numerics_from_proto(message: measurement_pb2.Numerics) -> Numerics:
    return Numerics(
        checked=message.checked,
        # Outputs that are not numbers are an error without bound, and are said as such.
        maximum_absolute_error=message.maximum_absolute_error,
        maximum_relative_error=message.maximum_relative_error,
    )


def _numerics_to_proto(numerics: Numerics) -> measurement_pb2.Numerics:
    return measurement_pb2.Numerics(
        checked=numerics.checked,
        maximum_absolute_error=numerics.maximum_absolute_error,
        maximum_relative_error=numerics.maximum_relative_error,
    )


def _conditions_from_proto(message: measurement_pb2.Conditions) -> Conditions:
    return Conditions(
        runtime=plain_text(message.runtime),
        runtime_version=plain_text(message.runtime_version),
        provider=plain_text(message.provider),
        threads=message.threads,
        governor=plain_text(message.governor),
        load_average=not_negative(message.load_average, name="load_average"),
        temperature_c=finite(message.temperature_c, name="temperature_c")
        if message.HasField("temperature_c")
        else None,
    )


def _conditions_to_proto(conditions: Conditions) -> measurement_pb2.Conditions:
    return measurement_pb2.Conditions(
        runtime=conditions.runtime,
        runtime_version=conditions.runtime_version,
        provider=conditions.provider,
        threads=conditions.threads,
        governor=conditions.governor,
        load_average=conditions.load_average,
        temperature_c=conditions.temperature_c,
    )

"""Between protobuf and the agent's own types; no other file of the agent knows both.

Every function is total. What the agent says always fits into the message: numbers are clamped to the field's range,
texts are cut and freed of what UTF-8 cannot hold. What the orchestrator says is read as far as this agent
understands it; a field that is absent becomes the default, and an unknown message becomes None.
"""

from __future__ import annotations

import math
from datetime import datetime, timezone

from fleetfit.v1 import device_facts_pb2, measurement_pb2, session_pb2
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp

from agent.facts import DeviceFacts
from agent.messages import (
    Heartbeat,
    Hello,
    Incoming,
    JobAssignment,
    JobCancellation,
    JobProgress,
    JobResult,
    Outgoing,
    Receipt,
    Welcome,
)
from agent.profiling.measurement import (
    Conditions,
    Energy,
    Figure,
    Latency,
    Measurement,
    MeasureRequest,
    Memory,
    Numerics,
    Provenance,
)
from agent.update.release import ActiveRelease, DeploymentReport, DesiredRelease

# The orchestrator takes messages of up to 256 KiB; no text or list that a person reads needs more than this.
_TEXT_LIMIT_CHARACTERS = 2000
_ITEM_LIMIT_CHARACTERS = 200
_LIST_LIMIT = 64
_DEFAULTS = MeasureRequest(artifact_sha256="", artifact_size_bytes=0, artifact_format="")


def to_request(message: Outgoing) -> session_pb2.ConnectRequest:
    """The message as it goes onto the stream."""
    if isinstance(message, Hello):
        return session_pb2.ConnectRequest(hello=_hello(message))
    if isinstance(message, Heartbeat):
        heartbeat = session_pb2.Heartbeat(
            job_ids=_texts(message.job_ids), active_release=_active_release(message.active_release)
        )
        return session_pb2.ConnectRequest(heartbeat=heartbeat)
    if isinstance(message, JobProgress):
        progress = session_pb2.JobProgress(job_id=_text(message.job_id), stage=_text(message.stage))
        return session_pb2.ConnectRequest(job_progress=progress)
    if isinstance(message, JobResult):
        result = session_pb2.JobResult(job_id=_text(message.job_id), measurement=_measurement(message.measurement))
        return session_pb2.ConnectRequest(job_result=result)
    return session_pb2.ConnectRequest(deployment_report=_deployment_report(message))


def encode(message: Outgoing) -> bytes:
    """The message as it is kept until the orchestrator confirms it."""
    return to_request(message).SerializeToString()


def decode(payload: bytes) -> session_pb2.ConnectRequest | None:
    """The message that ``encode`` made; None where these bytes are none."""
    try:
        return session_pb2.ConnectRequest.FromString(payload)
    except DecodeError:
        return None


def from_response(message: session_pb2.ConnectResponse) -> Incoming | None:
    """What the orchestrator said; None where this agent does not know that kind of message."""
    kind = message.WhichOneof("body")
    if kind == "welcome":
        return _welcome(message.welcome)
    if kind == "job_assignment":
        return _assignment(message.job_assignment)
    if kind == "job_cancellation":
        return JobCancellation(job_id=message.job_cancellation.job_id)
    if kind == "job_result_receipt":
        return Receipt(id=message.job_result_receipt.result_id)
    if kind == "deployment_receipt":
        return Receipt(id=message.deployment_receipt.report_id)
    if kind == "desired_release":
        desired = message.desired_release
        return DesiredRelease(
            deployment_id=desired.deployment_id,
            manifest_path=desired.manifest_path,
            manifest_sha256=desired.manifest_sha256,
        )
    return None


def to_facts(facts: DeviceFacts) -> device_facts_pb2.DeviceFacts:
    """The facts as a message."""
    return device_facts_pb2.DeviceFacts(
        hostname=_text(facts.hostname),
        architecture=_text(facts.architecture),
        board=_text(facts.board),
        cpu_model=_text(facts.cpu_model),
        instruction_sets=_texts(facts.instruction_sets),
        cpu_count=_unsigned(facts.cpu_count, bits=32),
        memory_bytes=_unsigned(facts.memory_bytes, bits=64),
        operating_system=_text(facts.operating_system),
        python_version=_text(facts.python_version),
        agent_version=_text(facts.agent_version),
        runtimes=[
            device_facts_pb2.RuntimeFacts(
                name=_text(runtime.name),
                version=_text(runtime.version),
                formats=_texts(runtime.formats),
                providers=_texts(runtime.providers),
            )
            for runtime in facts.runtimes[:_LIST_LIMIT]
        ],
        meters=[
            device_facts_pb2.MeterFacts(
                name=_text(meter.name), provenance=_provenance(meter.provenance), scope=_text(meter.scope)
            )
            for meter in facts.meters[:_LIST_LIMIT]
        ],
        host_id=_text(facts.host_id),
    )


def from_timestamp(message: Timestamp) -> datetime:
    """The instant in UTC; the nearest that Python can hold where the message is out of range."""
    earliest, latest = datetime.min.replace(tzinfo=timezone.utc), datetime.max.replace(tzinfo=timezone.utc)
    seconds = message.seconds + message.nanos / 1e9
    if seconds <= earliest.timestamp():
        return earliest
    return latest if seconds >= latest.timestamp() else datetime.fromtimestamp(seconds, tz=timezone.utc)


def _hello(message: Hello) -> session_pb2.Hello:
    return session_pb2.Hello(
        protocol_minimum=message.protocol_minimum,
        protocol_maximum=message.protocol_maximum,
        facts=to_facts(message.facts),
        boot_id=_text(message.boot_id),
        job_ids=_texts(message.job_ids),
        active_release=_active_release(message.active_release),
    )


def _welcome(message: session_pb2.Welcome) -> Welcome:
    return Welcome(
        protocol_version=message.protocol_version,
        session_epoch=message.session_epoch,
        heartbeat_interval_s=_seconds(message.heartbeat_interval),
        server_time=from_timestamp(message.server_time) if message.HasField("server_time") else None,
        device_name=message.device_name,
    )


def _assignment(message: session_pb2.JobAssignment) -> JobAssignment:
    return JobAssignment(
        job_id=message.job_id,
        attempt=message.attempt,
        lease_s=_seconds(message.lease),
        measure=_measure_request(message.measure) if message.HasField("measure") else None,
    )


def _measure_request(message: measurement_pb2.MeasureRequest) -> MeasureRequest:
    return MeasureRequest(
        artifact_sha256=message.artifact.sha256,
        artifact_size_bytes=message.artifact.size_bytes,
        artifact_format=message.artifact.format,
        runtime=message.runtime,
        threads=message.threads,
        minimum_samples=message.minimum_samples or _DEFAULTS.minimum_samples,
        minimum_duration_s=_seconds(message.minimum_duration) or _DEFAULTS.minimum_duration_s,
        maximum_duration_s=_seconds(message.maximum_duration) or _DEFAULTS.maximum_duration_s,
        golden_sha256=message.golden.sha256,
        golden_size_bytes=message.golden.size_bytes,
        golden_tolerance=message.golden_tolerance,
    )


def _measurement(measurement: Measurement) -> measurement_pb2.Measurement:
    latency, energy = measurement.latency, measurement.energy
    memory, numerics = measurement.memory, measurement.numerics
    return measurement_pb2.Measurement(
        result_id=_text(measurement.result_id),
        artifact_sha256=_text(measurement.artifact_sha256),
        outcome=measurement_pb2.Outcome.Value(f"OUTCOME_{measurement.outcome.name}"),
        detail=_text(measurement.detail),
        latency=None if latency is None else _latency(latency),
        energy=None if energy is None else _energy(energy),
        memory=None if memory is None else _memory(memory),
        numerics=None if numerics is None else _numerics(numerics),
        conditions=_conditions(measurement.conditions),
        measured_at=_timestamp(measurement.measured_at),
    )


def _latency(latency: Latency) -> measurement_pb2.Latency:
    return measurement_pb2.Latency(
        p50_ms=_figure(latency.p50_ms),
        p90_ms=_figure(latency.p90_ms),
        p95_ms=_figure(latency.p95_ms),
        p99_ms=_figure(latency.p99_ms),
        mean_ms=latency.mean_ms,
        minimum_ms=latency.minimum_ms,
        sample_count=_unsigned(latency.sample_count, bits=32),
        load_ms=latency.load_ms,
        first_inference_ms=latency.first_inference_ms,
        warm_up_count=_unsigned(latency.warm_up_count, bits=32),
        steady_state=latency.steady_state,
        quality=measurement_pb2.Quality.Value(f"QUALITY_{latency.quality.name}"),
        remarks=_texts(latency.remarks),
    )


def _figure(figure: Figure | None) -> measurement_pb2.Figure | None:
    if figure is None:
        return None
    return measurement_pb2.Figure(value=figure.value, lower=figure.lower, upper=figure.upper)


def _energy(energy: Energy) -> measurement_pb2.Energy:
    return measurement_pb2.Energy(
        gross_mj=energy.gross_mj,
        net_mj=energy.net_mj,
        lower_mj=energy.lower_mj,
        upper_mj=energy.upper_mj,
        meter=_text(energy.meter),
        provenance=_provenance(energy.provenance),
        scope=_text(energy.scope),
        remark=_text(energy.remark),
    )


def _memory(memory: Memory) -> measurement_pb2.Memory:
    return measurement_pb2.Memory(
        peak_bytes=_unsigned(memory.peak_bytes, bits=64),
        baseline_bytes=_unsigned(memory.baseline_bytes, bits=64),
        provenance=_provenance(memory.provenance),
    )


def _numerics(numerics: Numerics) -> measurement_pb2.Numerics:
    return measurement_pb2.Numerics(
        checked=numerics.checked,
        maximum_absolute_error=numerics.maximum_absolute_error,
        maximum_relative_error=numerics.maximum_relative_error,
    )


def _conditions(conditions: Conditions) -> measurement_pb2.Conditions:
    return measurement_pb2.Conditions(
        runtime=_text(conditions.runtime),
        runtime_version=_text(conditions.runtime_version),
        provider=_text(conditions.provider),
        threads=_unsigned(conditions.threads, bits=32),
        governor=_text(conditions.governor),
        load_average=conditions.load_average,
        temperature_c=conditions.temperature_c,
    )


def _deployment_report(report: DeploymentReport) -> session_pb2.DeploymentReport:
    return session_pb2.DeploymentReport(
        report_id=_text(report.report_id),
        deployment_id=_text(report.deployment_id),
        state=session_pb2.DeploymentState.Value(f"DEPLOYMENT_STATE_{report.state.name}"),
        reason=_text(report.reason),
        active_release=_active_release(report.active_release),
        reported_at=_timestamp(report.reported_at),
    )


def _active_release(release: ActiveRelease | None) -> session_pb2.ActiveRelease | None:
    if release is None:
        return None
    return session_pb2.ActiveRelease(
        manifest_sha256=_text(release.manifest_sha256), name=_text(release.name), version=_text(release.version)
    )


def _provenance(provenance: Provenance) -> device_facts_pb2.Provenance.ValueType:
    return device_facts_pb2.Provenance.Value(f"PROVENANCE_{provenance.name}")


def _seconds(duration: Duration) -> float:
    """The duration; zero where it is absent or makes no sense."""
    seconds = duration.seconds + duration.nanos / 1e9
    return seconds if math.isfinite(seconds) and seconds > 0 else 0.0


def _timestamp(instant: datetime) -> Timestamp:
    message = Timestamp()
    message.FromDatetime(instant)
    return message


def _unsigned(value: int, *, bits: int) -> int:
    largest: int = (1 << bits) - 1
    return max(0, min(value, largest))


def _text(text: str, *, limit_characters: int = _TEXT_LIMIT_CHARACTERS) -> str:
    return text[:limit_characters].encode(errors="replace").decode()


def _texts(texts: tuple[str, ...]) -> list[str]:
    return [_text(text, limit_characters=_ITEM_LIMIT_CHARACTERS) for text in texts[:_LIST_LIMIT]]

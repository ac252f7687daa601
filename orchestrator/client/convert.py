"""Protobuf messages into the client's records. The only file of the client that looks inside a message."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from enum import Enum
from typing import TypeVar

from fleetfit.v1 import (
    api_tokens_pb2,
    audit_pb2,
    device_facts_pb2,
    devices_pb2,
    join_tokens_pb2,
    measurement_pb2,
    releases_pb2,
    rollouts_pb2,
    searches_pb2,
    server_pb2,
    session_pb2,
)
from google.protobuf.descriptor import EnumDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from orchestrator.client.records import (
    ApiToken,
    AuditEntry,
    AuditVerdict,
    Deployment,
    Device,
    JoinToken,
    Measurement,
    NewJoinToken,
    Rollout,
    Search,
    ServerInfo,
    Trial,
)
from orchestrator.errors import OperationError
from orchestrator.fleet.api_token import Role
from orchestrator.fleet.device import ActiveRelease, DeviceFacts, MeterFacts, Provenance, RuntimeFacts
from orchestrator.fleet.measurement import Conditions, Energy, Figure, Latency, Memory, Numerics, Outcome, Quality
from orchestrator.releases.release import Release
from orchestrator.rollouts.plan import Plan, WaveSize
from orchestrator.rollouts.rollout import DeploymentState, RolloutState
from orchestrator.search.budget import Budgets, Verdict
from orchestrator.search.search import SearchState
from orchestrator.search.trial import TrialState

EnumType = TypeVar("EnumType", bound=Enum)


def server_info(message: server_pb2.GetServerInfoResponse) -> ServerInfo:
    """The record of the message."""
    return ServerInfo(
        version=message.version,
        public_address=message.public_address,
        device_address=message.device_address,
        ca_hash=message.ca_hash,
        role=message.role,
        devices_online=message.devices_online,
    )


def join_token(message: join_tokens_pb2.JoinToken) -> JoinToken:
    """The record of the message."""
    return JoinToken(
        id=message.id,
        created_at=_time(message, "created_at"),
        expires_at=_time(message, "expires_at"),
        uses=message.uses,
        maximum_uses=message.maximum_uses,
        revoked=message.revoked,
        labels=dict(message.labels),
    )


def new_join_token(message: join_tokens_pb2.CreateJoinTokenResponse) -> NewJoinToken:
    """The record of the message."""
    return NewJoinToken(
        token=join_token(message.token), secret=message.secret, ca_hash=message.ca_hash, address=message.address
    )


def device(message: devices_pb2.Device) -> Device:
    """The record of the message."""
    active = message.active_release if message.HasField("active_release") else None
    return Device(
        id=message.id,
        name=message.name,
        device_class=message.device_class,
        online=message.online,
        activity=message.activity,
        facts=_facts(message.facts),
        labels=dict(message.labels),
        active_release=None if active is None or not active.manifest_sha256 else _active_release(active),
        enrolled_at=_time(message, "enrolled_at"),
        last_seen_at=_time(message, "last_seen_at"),
        certificate_expires_at=_time(message, "certificate_expires_at"),
    )


def search(message: searches_pb2.Search, trials: tuple[Trial, ...] = ()) -> Search:
    """The record of the message, with ``trials`` in the order of their numbers."""
    return Search(
        id=message.id,
        name=message.name,
        state=_enum(SearchState, searches_pb2.SearchState.DESCRIPTOR, message.state),
        reason=message.reason,
        budgets=_budgets(message.budgets),
        devices=tuple(message.devices),
        workload_filename=message.workload_filename,
        metric_name=message.metric_name,
        baseline_trial_id=message.baseline_trial_id,
        best_trial_id=message.best_trial_id,
        closest_trial_id=message.closest_trial_id,
        training_count=message.trainings,
        measurement_count=message.measurements,
        created_at=_time(message, "created_at"),
        finished_at=_time(message, "finished_at"),
        trials=tuple(sorted(trials, key=lambda each: each.number)),
    )


def trial(message: searches_pb2.Trial) -> Trial:
    """The record of the message."""
    return Trial(
        id=message.id,
        number=message.number,
        title=message.title,
        recipe_json=message.recipe_json,
        state=_enum(TrialState, searches_pb2.TrialState.DESCRIPTOR, message.state),
        reason=message.reason,
        progress=message.progress,
        format=message.format,
        size_bytes=message.size_bytes if message.HasField("size_bytes") else None,
        accuracy=message.accuracy if message.HasField("accuracy") else None,
        train_s=message.train_s if message.HasField("train_s") else None,
        artifact_sha256=message.artifact_sha256,
        measurements={name: measurement(each) for name, each in sorted(message.measurements.items())},
        verdicts=tuple(
            Verdict(
                budget=each.budget,
                limit=each.limit,
                value=each.value if each.HasField("value") else None,
                held=each.held,
                device=each.device,
            )
            for each in message.verdicts
        ),
    )


def measurement(message: measurement_pb2.Measurement) -> Measurement:
    """The record of the message."""
    return Measurement(
        result_id=message.result_id,
        artifact_sha256=message.artifact_sha256,
        outcome=_enum(Outcome, measurement_pb2.Outcome.DESCRIPTOR, message.outcome),
        detail=message.detail,
        latency=_latency(message.latency) if message.HasField("latency") else None,
        energy=_energy(message.energy) if message.HasField("energy") else None,
        memory=_memory(message.memory) if message.HasField("memory") else None,
        numerics=_numerics(message.numerics) if message.HasField("numerics") else None,
        conditions=_conditions(message.conditions),
        measured_at=_time(message, "measured_at"),
    )


def release(message: releases_pb2.Release) -> Release:
    """The record of the message."""
    return Release(
        id=message.id,
        name=message.name,
        version=message.version,
        counter=message.counter,
        manifest_path=message.manifest_path,
        manifest_sha256=message.manifest_sha256,
        manifest_json=message.manifest_json,
        artifact_sha256=message.artifact_sha256,
        artifact_size_bytes=message.artifact_size_bytes,
        artifact_format=message.format,
        search_id=message.search_id,
        trial_id=message.trial_id,
        created_at=_datetime(message.created_at),
    )


def rollout(message: rollouts_pb2.Rollout) -> Rollout:
    """The record of the message."""
    return Rollout(
        id=message.id,
        release_id=message.release_id,
        release=message.release,
        selector=message.selector,
        state=_enum(RolloutState, rollouts_pb2.RolloutState.DESCRIPTOR, message.state),
        reason=message.reason,
        deployments=tuple(
            Deployment(
                id=each.id,
                device_id=each.device_id,
                device=each.device,
                state=_enum(DeploymentState, session_pb2.DeploymentState.DESCRIPTOR, each.state),
                reason=each.reason,
                updated_at=_time(each, "updated_at"),
                wave=each.wave,
                excused=each.excused,
            )
            for each in message.deployments
        ),
        created_at=_time(message, "created_at"),
        finished_at=_time(message, "finished_at"),
        plan=_plan(message.plan) if message.HasField("plan") else Plan(),
        wave=message.wave,
    )


def api_token(message: api_tokens_pb2.ApiToken) -> ApiToken:
    """The record of the message.

    Raises:
        OperationError: Its role is newer than this client.
    """
    try:
        role = Role(message.role)
    except ValueError as error:
        raise OperationError(f"the server knows a role that this client does not: {message.role[:40]}") from error
    return ApiToken(
        id=message.id,
        name=message.name,
        role=role,
        created_at=_time(message, "created_at"),
        expires_at=_time(message, "expires_at"),
        revoked=message.revoked,
    )


def audit_entry(message: audit_pb2.AuditEntry) -> AuditEntry:
    """The record of the message."""
    return AuditEntry(
        number=message.number,
        recorded_at=_time(message, "recorded_at"),
        actor=message.actor,
        method=message.method,
        parameters=message.parameters,
        outcome=message.outcome,
        request_id=message.request_id,
        hash=message.hash,
    )


def audit_verdict(message: audit_pb2.VerifyAuditLogResponse) -> AuditVerdict:
    """The record of the message."""
    return AuditVerdict(entries=message.entries, first_broken=message.first_broken or None, last_hash=message.last_hash)


def plan_message(plan: Plan) -> rollouts_pb2.RolloutPlan:
    """The message of the plan; without its seed where that is the usual one: then the server chooses."""
    message = rollouts_pb2.RolloutPlan(
        waves=[
            rollouts_pb2.WaveSize(devices=size.devices)
            if size.devices
            else rollouts_pb2.WaveSize(fraction=size.fraction)
            for size in plan.waves
        ],
        success_fraction=plan.success_fraction,
        error_fraction=plan.error_fraction,
        minimum_sample=plan.minimum_sample,
        max_parallel=plan.max_parallel,
        open=plan.open,
        seed=plan.seed or None,
    )
    message.soak.FromTimedelta(timedelta(seconds=plan.soak_s))
    if plan.offline_deadline_s is not None:
        message.offline_deadline.FromTimedelta(timedelta(seconds=plan.offline_deadline_s))
    return message


def _plan(message: rollouts_pb2.RolloutPlan) -> Plan:
    deadline_s = message.offline_deadline.ToTimedelta().total_seconds()
    return Plan(
        waves=tuple(WaveSize(devices=size.devices, fraction=size.fraction) for size in message.waves),
        success_fraction=message.success_fraction,
        error_fraction=message.error_fraction,
        minimum_sample=message.minimum_sample,
        soak_s=message.soak.ToTimedelta().total_seconds(),
        max_parallel=message.max_parallel,
        offline_deadline_s=deadline_s if message.HasField("offline_deadline") else None,
        open=message.open,
        seed=message.seed,
    )


def _facts(message: device_facts_pb2.DeviceFacts) -> DeviceFacts:
    return DeviceFacts(
        hostname=message.hostname,
        architecture=message.architecture,
        board=message.board,
        cpu_model=message.cpu_model,
        instruction_sets=tuple(message.instruction_sets),
        cpu_count=message.cpu_count,
        memory_bytes=message.memory_bytes,
        operating_system=message.operating_system,
        python_version=message.python_version,
        agent_version=message.agent_version,
        runtimes=tuple(
            RuntimeFacts(
                name=each.name, version=each.version, formats=tuple(each.formats), providers=tuple(each.providers)
            )
            for each in message.runtimes
        ),
        meters=tuple(
            MeterFacts(name=each.name, provenance=_provenance(each.provenance), scope=each.scope)
            for each in message.meters
        ),
        host_id=message.host_id,
    )


def _active_release(message: session_pb2.ActiveRelease) -> ActiveRelease:
    return ActiveRelease(manifest_sha256=message.manifest_sha256, name=message.name, version=message.version)


def _budgets(message: searches_pb2.Budgets) -> Budgets:
    return Budgets(**{each.name: value for each, value in message.ListFields()})


def _latency(message: measurement_pb2.Latency) -> Latency:
    def figure(name: str) -> Figure | None:
        if not message.HasField(name):  # type: ignore[arg-type]
            return None
        found: measurement_pb2.Figure = getattr(message, name)
        return Figure(
            value=found.value,
            lower=found.lower if found.HasField("lower") else None,
            upper=found.upper if found.HasField("upper") else None,
        )

    return Latency(
        p50_ms=figure("p50_ms"),
        p90_ms=figure("p90_ms"),
        p95_ms=figure("p95_ms"),
        p99_ms=figure("p99_ms"),
        mean_ms=message.mean_ms,
        minimum_ms=message.minimum_ms,
        sample_count=message.sample_count,
        load_ms=message.load_ms,
        first_inference_ms=message.first_inference_ms,
        warm_up_count=message.warm_up_count,
        steady_state=message.steady_state,
        quality=_enum(Quality, measurement_pb2.Quality.DESCRIPTOR, message.quality),
        remarks=tuple(message.remarks),
    )


def _energy(message: measurement_pb2.Energy) -> Energy:
    return Energy(
        gross_mj=message.gross_mj if message.HasField("gross_mj") else None,
        net_mj=message.net_mj if message.HasField("net_mj") else None,
        lower_mj=message.lower_mj if message.HasField("lower_mj") else None,
        upper_mj=message.upper_mj if message.HasField("upper_mj") else None,
        meter=message.meter,
        provenance=_provenance(message.provenance),
        scope=message.scope,
        remark=message.remark,
    )


def _memory(message: measurement_pb2.Memory) -> Memory:
    return Memory(
        peak_bytes=message.peak_bytes,
        baseline_bytes=message.baseline_bytes,
        provenance=_provenance(message.provenance),
    )


def _numerics(message: measurement_pb2.Numerics) -> Numerics:
    return Numerics(
        checked=message.checked,
        maximum_absolute_error=message.maximum_absolute_error,
        maximum_relative_error=message.maximum_relative_error,
    )


def _conditions(message: measurement_pb2.Conditions) -> Conditions:
    return Conditions(
        runtime=message.runtime,
        runtime_version=message.runtime_version,
        provider=message.provider,
        threads=message.threads,
        governor=message.governor,
        load_average=message.load_average,
        temperature_c=message.temperature_c if message.HasField("temperature_c") else None,
    )


def _provenance(number: int) -> Provenance:
    # A figure whose source is not told may not pass for a measured one.
    if number == device_facts_pb2.PROVENANCE_UNSPECIFIED:
        return Provenance.ESTIMATED
    return _enum(Provenance, device_facts_pb2.Provenance.DESCRIPTOR, number)


def _enum(kind: type[EnumType], descriptor: EnumDescriptor, number: int) -> EnumType:
    """The member of ``kind`` that the number stands for.

    Raises:
        OperationError: The server is newer and says something that this client does not know.
    """
    prefix = descriptor.values_by_number[0].name.removesuffix("UNSPECIFIED")
    try:
        return kind[descriptor.values_by_number[number].name.removeprefix(prefix)]
    except KeyError as error:
        raise OperationError(
            f"the server answered with a {kind.__name__} that this client does not know ({number})",
            hint="bring fleetfit here to the server's version: 'fleetfit status' shows it",
            reason="VERSION_SKEW",
        ) from error


def _time(message: Message, name: str) -> datetime | None:
    return _datetime(getattr(message, name)) if message.HasField(name) else None


def _datetime(timestamp: Timestamp) -> datetime:
    return timestamp.ToDatetime(tzinfo=timezone.utc)

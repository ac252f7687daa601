"""Rollouts, and what devices report of their part in them."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from fleetfit.v1 import rollouts_pb2, session_pb2

from orchestrator.api.convert.devices import active_release_from_proto
from orchestrator.api.convert.scalars import (
    duration,
    enum_member,
    enum_number,
    finite,
    identifier,
    moment,
    time_delta,
    timestamp,
)
from orchestrator.fleet.device import ActiveRelease
from orchestrator.fleet.plain_text import plain_text
from orchestrator.releases.release import Release
from orchestrator.rollouts.plan import Plan, WaveSize
from orchestrator.rollouts.rollout import Deployment, DeploymentState, Rollout

_REASON_LIMIT = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentReport:
    """One step of a deployment, as the device tells it."""

    report_id: str
    deployment_id: str
    state: DeploymentState
    reason: str
    active_release: ActiveRelease | None
    reported_at: datetime


def report_from_proto(message: session_pb2.DeploymentReport) -> DeploymentReport:
    """What a device reports, made inert.

    Raises:
        InvalidInputError: An id is not one, or the state is unknown.
    """
    return DeploymentReport(
        report_id=identifier(message.report_id, name="report_id"),
        deployment_id=identifier(message.deployment_id, name="deployment_id"),
        state=enum_member(DeploymentState, session_pb2.DeploymentState.DESCRIPTOR, message.state, name="state"),
        reason=plain_text(message.reason, limit=_REASON_LIMIT),
        active_release=active_release_from_proto(message.active_release),
        reported_at=moment(message.reported_at, name="reported_at"),
    )


def plan_from_proto(message: rollouts_pb2.RolloutPlan) -> Plan:
    """The plan that a client asks for; what it leaves open is as in ``Plan``, and the seed is chosen.

    Raises:
        InvalidInputError: It makes no sense.
    """
    plain = Plan()
    plan = Plan(
        waves=tuple(
            WaveSize(devices=size.devices, fraction=finite(size.fraction, name="waves")) for size in message.waves
        )
        or plain.waves,
        success_fraction=(
            finite(message.success_fraction, name="success_fraction")
            if message.HasField("success_fraction")
            else plain.success_fraction
        ),
        error_fraction=(
            finite(message.error_fraction, name="error_fraction")
            if message.HasField("error_fraction")
            else plain.error_fraction
        ),
        minimum_sample=message.minimum_sample if message.HasField("minimum_sample") else plain.minimum_sample,
        soak_s=time_delta(message.soak, name="soak").total_seconds(),
        max_parallel=message.max_parallel,
        offline_deadline_s=(
            time_delta(message.offline_deadline, name="offline_deadline").total_seconds()
            if message.HasField("offline_deadline")
            else None
        ),
        open=message.open,
        seed=message.seed if message.HasField("seed") else secrets.randbelow(2**32),
    )
    return plan.check()


def rollout_to_proto(
    rollout: Rollout, *, release: Release, deployments: Sequence[Deployment], device_names: Mapping[str, str]
) -> rollouts_pb2.Rollout:
    """The message of a rollout.

    Args:
        rollout: The rollout.
        release: What it delivers.
        deployments: Its devices' parts.
        device_names: By id; of a device that was removed, the id is shown.
    """
    return rollouts_pb2.Rollout(
        id=rollout.id,
        release_id=rollout.release_id,
        release=release.title,
        selector=rollout.selector,
        state=rollouts_pb2.RolloutState.ValueType(enum_number(rollouts_pb2.RolloutState.DESCRIPTOR, rollout.state)),
        reason=rollout.reason,
        deployments=[
            _deployment_to_proto(deployment, device_names.get(deployment.device_id, deployment.device_id))
            for deployment in deployments
        ],
        created_at=timestamp(rollout.created_at),
        finished_at=timestamp(rollout.finished_at),
        plan=_plan_to_proto(rollout.plan),
        wave=rollout.wave + 1,
    )


def _plan_to_proto(plan: Plan) -> rollouts_pb2.RolloutPlan:
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
        soak=duration(plan.soak_s),
        max_parallel=plan.max_parallel,
        open=plan.open,
        seed=plan.seed,
    )
    if plan.offline_deadline_s is not None:
        message.offline_deadline.CopyFrom(duration(plan.offline_deadline_s))
    return message


def _deployment_to_proto(deployment: Deployment, device_name: str) -> rollouts_pb2.Deployment:
    return rollouts_pb2.Deployment(
        id=deployment.id,
        device_id=deployment.device_id,
        device=device_name,
        state=session_pb2.DeploymentState.ValueType(
            enum_number(session_pb2.DeploymentState.DESCRIPTOR, deployment.state)
        ),
        reason=deployment.reason,
        updated_at=timestamp(deployment.updated_at),
        wave=deployment.wave + 1,
        excused=deployment.excused,
    )

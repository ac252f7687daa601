"""Rollouts, and what devices report of their part in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from fleetfit.v1 import rollouts_pb2, session_pb2

from orchestrator.api.convert.devices import active_release_from_proto
from orchestrator.api.convert.scalars import enum_member, enum_number, identifier, moment, timestamp
from orchestrator.fleet.device import ActiveRelease
from orchestrator.fleet.plain_text import plain_text
from orchestrator.releases.release import Release
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
    )


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
    )

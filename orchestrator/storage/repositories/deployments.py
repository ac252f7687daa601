"""Deployments: each device's part in a rollout."""

from __future__ import annotations

from orchestrator.rollouts.rollout import Deployment, DeploymentState
from orchestrator.storage.repository import IdentifiedRepository
from orchestrator.storage.tables import DEPLOYMENTS


class DeploymentRepository(IdentifiedRepository[Deployment]):
    """Deployments; a device has one in each rollout."""

    table = DEPLOYMENTS
    record_type = Deployment
    kind = "deployment"

    def list(self, rollout_id: str) -> tuple[Deployment, ...]:
        """The deployments of a rollout, oldest first."""
        return self._select(DEPLOYMENTS.c.rollout_id == rollout_id)

    def by_device(self, device_id: str) -> tuple[Deployment, ...]:
        """The deployments of a device, newest first."""
        return self._select(DEPLOYMENTS.c.device_id == device_id, order=DEPLOYMENTS.c.position.desc())

    def update(self, deployment: Deployment, *, expecting: DeploymentState | None = None) -> None:
        """Replaces the deployment.

        Args:
            deployment: What it shall be.
            expecting: The state that the stored deployment must be in, where one is given.

        Raises:
            ConflictError: It is in another state (reason ``STALE``).
            NotFoundError: There is no such deployment.
        """
        self._replace_expecting(deployment, expecting)

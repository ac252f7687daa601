"""What devices reported of their deployments."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from orchestrator.rollouts.rollout import DeploymentState
from orchestrator.storage.repository import Repository
from orchestrator.storage.tables import DEPLOYMENT_REPORTS


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredReport:
    """One report of a device, as it arrived."""

    report_id: str
    deployment_id: str
    state: DeploymentState
    reason: str
    reported_at: datetime


class DeploymentReportRepository(Repository[StoredReport]):
    """Reports; never changed. One that arrives twice is stored once."""

    table = DEPLOYMENT_REPORTS
    record_type = StoredReport
    kind = "deployment report"

    def add_once(
        self, report_id: str, deployment_id: str, state: DeploymentState, reason: str, reported_at: datetime
    ) -> bool:
        """Stores the report, unless one with its id is stored already.

        Returns:
            Whether it was new.

        Raises:
            NotFoundError: There is no such deployment.
        """
        report = StoredReport(
            report_id=report_id, deployment_id=deployment_id, state=state, reason=reason, reported_at=reported_at
        )
        return self._insert_once(report)

    def list(self, deployment_id: str) -> tuple[StoredReport, ...]:
        """The reports on a deployment in the order in which they arrived."""
        return self._select(DEPLOYMENT_REPORTS.c.deployment_id == deployment_id)

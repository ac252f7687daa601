"""A transaction: everything that can be read and written in one step that happens wholly or not at all."""

from __future__ import annotations

from sqlalchemy import Connection

from orchestrator.storage.repositories.api_tokens import ApiTokenRepository
from orchestrator.storage.repositories.audit_entries import AuditEntryRepository
from orchestrator.storage.repositories.deployment_reports import DeploymentReportRepository
from orchestrator.storage.repositories.deployments import DeploymentRepository
from orchestrator.storage.repositories.devices import DeviceRepository
from orchestrator.storage.repositories.enrolments import EnrolmentRepository
from orchestrator.storage.repositories.jobs import JobRepository
from orchestrator.storage.repositories.join_tokens import JoinTokenRepository
from orchestrator.storage.repositories.measurements import MeasurementRepository
from orchestrator.storage.repositories.releases import ReleaseRepository
from orchestrator.storage.repositories.rollouts import RolloutRepository
from orchestrator.storage.repositories.searches import SearchRepository
from orchestrator.storage.repositories.trials import TrialRepository


class Transaction:
    """The repositories of one transaction. It is handed to the work by ``Database.run`` and ends with it."""

    def __init__(self, connection: Connection) -> None:
        self.devices = DeviceRepository(connection)
        self.join_tokens = JoinTokenRepository(connection)
        self.enrolments = EnrolmentRepository(connection)
        self.api_tokens = ApiTokenRepository(connection)
        self.jobs = JobRepository(connection)
        self.measurements = MeasurementRepository(connection)
        self.searches = SearchRepository(connection)
        self.trials = TrialRepository(connection)
        self.releases = ReleaseRepository(connection)
        self.rollouts = RolloutRepository(connection)
        self.deployments = DeploymentRepository(connection)
        self.deployment_reports = DeploymentReportRepository(connection)
        self.audit_entries = AuditEntryRepository(connection)

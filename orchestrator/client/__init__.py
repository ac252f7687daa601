"""The Python client: ``from orchestrator.client import Client``."""

from orchestrator.client.client import Client
from orchestrator.client.records import (
    ApiToken,
    AuditEntry,
    AuditVerdict,
    Deployment,
    Device,
    DownloadedArtifact,
    JoinToken,
    Measurement,
    NewApiToken,
    NewJoinToken,
    Rollout,
    Search,
    ServerInfo,
    Trial,
)

__all__ = [
    "ApiToken",
    "AuditEntry",
    "AuditVerdict",
    "Client",
    "Deployment",
    "Device",
    "DownloadedArtifact",
    "JoinToken",
    "Measurement",
    "NewApiToken",
    "NewJoinToken",
    "Rollout",
    "Search",
    "ServerInfo",
    "Trial",
]

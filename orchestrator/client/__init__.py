"""The Python client: ``from orchestrator.client import Client``."""

from orchestrator.client.client import Client
from orchestrator.client.records import (
    AuditEntry,
    AuditVerdict,
    Deployment,
    Device,
    DownloadedArtifact,
    JoinToken,
    Measurement,
    NewJoinToken,
    Rollout,
    Search,
    ServerInfo,
    Trial,
)

__all__ = [
    "AuditEntry",
    "AuditVerdict",
    "Client",
    "Deployment",
    "Device",
    "DownloadedArtifact",
    "JoinToken",
    "Measurement",
    "NewJoinToken",
    "Rollout",
    "Search",
    "ServerInfo",
    "Trial",
]

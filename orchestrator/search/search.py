"""A search: the loop over recipes for one workload and its budgets."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from orchestrator.search.spec import SearchSpec


class SearchState(str, Enum):
    """Where a search is; all but RUNNING are final."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    INFEASIBLE = "infeasible"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """Whether the search has ended."""
        return self is not SearchState.RUNNING


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """One workload, its budgets, its devices, and how far it has come."""

    id: str
    name: str
    state: SearchState
    spec: SearchSpec
    workload_filename: str
    workload_sha256: str
    # Ids of the devices that measure.
    device_ids: tuple[str, ...]
    created_at: datetime
    idempotency_key: str = ""
    reason: str = ""
    metric_name: str = ""
    # Checkpoint of the trained baseline, in the blob store; empty until it is trained.
    baseline_sha256: str = ""
    baseline_trial_id: str = ""
    best_trial_id: str = ""
    closest_trial_id: str = ""
    finished_at: datetime | None = None

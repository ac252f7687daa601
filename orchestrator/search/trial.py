"""A trial: one recipe on its way through the stages, cheapest first, and the table of its moves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from orchestrator.search.budget import Verdict


class TrialState(str, Enum):
    """The stages of a trial in the order of their cost, then the ways in which it ends."""

    QUEUED = "queued"
    BUILDING = "building"
    MEASURING = "measuring"
    TRAINING = "training"
    CONFIRMING = "confirming"
    FEASIBLE = "feasible"
    INFEASIBLE = "infeasible"
    DOMINATED = "dominated"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """Whether the trial has ended."""
        return self in _FINAL


_FINAL = frozenset(
    {
        TrialState.FEASIBLE,
        TrialState.INFEASIBLE,
        TrialState.DOMINATED,
        TrialState.FAILED,
        TrialState.CANCELLED,
    }
)

# Every move a trial can make. What is not here cannot happen.
MOVES: Mapping[TrialState, frozenset[TrialState]] = {
    TrialState.QUEUED: frozenset({TrialState.BUILDING, TrialState.CANCELLED}),
    TrialState.BUILDING: frozenset({
        TrialState.MEASURING, TrialState.INFEASIBLE, TrialState.DOMINATED, TrialState.FAILED, TrialState.CANCELLED,
    }),
    TrialState.MEASURING: frozenset({
        TrialState.TRAINING, TrialState.INFEASIBLE, TrialState.DOMINATED, TrialState.FAILED, TrialState.CANCELLED,
    }),
    TrialState.TRAINING: frozenset({
        TrialState.CONFIRMING, TrialState.INFEASIBLE, TrialState.DOMINATED, TrialState.FAILED, TrialState.CANCELLED,
    }),
    TrialState.CONFIRMING: frozenset({
        TrialState.FEASIBLE, TrialState.INFEASIBLE, TrialState.DOMINATED, TrialState.FAILED, TrialState.CANCELLED,
    }),
    **{state: frozenset() for state in _FINAL},
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One recipe in one search, with all that is known of it so far."""

    id: str
    search_id: str
    # 0 is the baseline: no passes, only the export.
    number: int
    title: str
    # Canonical JSON of the recipe.
    recipe_json: str
    state: TrialState
    created_at: datetime
    reason: str = ""
    progress: str = ""
    format: str = ""
    # Of the draft (the untrained export) until training, then of the artifact.
    size_bytes: int | None = None
    # Equal for two artifacts with the same graph and types, whatever their weights.
    structure_sha256: str = ""
    draft_sha256: str = ""
    artifact_sha256: str = ""
    # Reference inputs and outputs of the trained artifact, one .npz.
    golden_sha256: str = ""
    # Largest allowed difference to the reference outputs, as a fraction of their largest magnitude.
    golden_tolerance: float | None = None
    accuracy: float | None = None
    train_s: float | None = None
    # What the passes did, as JSON, for the report.
    passes_json: str = "[]"
    # Id of the newest measurement by device id.
    measurement_ids: Mapping[str, str] = field(default_factory=dict)
    verdicts: tuple[Verdict, ...] = ()
    finished_at: datetime | None = None

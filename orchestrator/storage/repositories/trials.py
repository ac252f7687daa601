"""Trials of searches."""

from __future__ import annotations

from orchestrator.search.trial import Trial, TrialState
from orchestrator.storage.repository import IdentifiedRepository
from orchestrator.storage.tables import TRIALS


class TrialRepository(IdentifiedRepository[Trial]):
    """Trials; a number is unique within its search."""

    table = TRIALS
    record_type = Trial
    kind = "trial"

    def list(self, search_id: str) -> tuple[Trial, ...]:
        """The trials of a search by number."""
        return self._select(TRIALS.c.search_id == search_id, order=TRIALS.c.number)

    def by_structure(self, structure_sha256: str) -> tuple[Trial, ...]:
        """The trials of every search with this structure, oldest first; an empty hash finds nothing."""
        return self._select(TRIALS.c.structure_sha256 == structure_sha256) if structure_sha256 else ()

    def update(self, trial: Trial, *, expecting: TrialState | None = None) -> None:
        """Replaces the trial.

        Args:
            trial: What it shall be.
            expecting: The state that the stored trial must be in, where one is given.

        Raises:
            ConflictError: It is in another state (reason ``STALE``), or its number is taken.
            NotFoundError: There is no such trial.
        """
        self._replace_expecting(trial, expecting)

    def _title(self, record: Trial) -> str:
        return f"{record.number} ({record.title})"

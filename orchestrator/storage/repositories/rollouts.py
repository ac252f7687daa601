"""Rollouts of releases."""

from __future__ import annotations

from orchestrator.rollouts.rollout import Rollout, RolloutState
from orchestrator.storage.repository import IdentifiedRepository
from orchestrator.storage.tables import ROLLOUTS


class RolloutRepository(IdentifiedRepository[Rollout]):
    """Rollouts; an idempotency key that is not empty belongs to one."""

    table = ROLLOUTS
    record_type = Rollout
    kind = "rollout"
    listing = "fleetfit rollout list"

    def find(self, rollout_id: str) -> Rollout:
        """The rollout with this id: rollouts have no other name.

        Raises:
            NotFoundError: There is none.
        """
        return self.get(rollout_id)

    def list(self) -> tuple[Rollout, ...]:
        """All rollouts, newest first."""
        return self._select(order=ROLLOUTS.c.position.desc())

    def unfinished(self) -> tuple[Rollout, ...]:
        """The rollouts that have not ended, oldest first."""
        return self._select(ROLLOUTS.c.state.in_([state for state in RolloutState if not state.final]))

    def by_idempotency_key(self, key: str) -> Rollout | None:
        """The rollout that was asked for with this key; an empty key finds nothing."""
        return self._first(ROLLOUTS.c.idempotency_key == key) if key else None

    def update(self, rollout: Rollout, *, expecting: RolloutState | None = None) -> None:
        """Replaces the rollout.

        Args:
            rollout: What it shall be.
            expecting: The state that the stored rollout must be in, where one is given.

        Raises:
            ConflictError: It is in another state (reason ``STALE``).
            NotFoundError: There is no such rollout.
        """
        self._replace_expecting(rollout, expecting)

"""Searches."""

from __future__ import annotations

from orchestrator.search.search import Search, SearchState
from orchestrator.storage.repository import IdentifiedRepository
from orchestrator.storage.tables import SEARCHES


class SearchRepository(IdentifiedRepository[Search]):
    """Searches; many may have one name, an idempotency key that is not empty belongs to one."""

    table = SEARCHES
    record_type = Search
    kind = "search"
    listing = "fleetfit search list"

    def find(self, name_or_id: str) -> Search:
        """The search with this id, else the newest with this name.

        Raises:
            NotFoundError: There is none.
        """
        found = self._first(SEARCHES.c.id == name_or_id) or self._newest(SEARCHES.c.name == name_or_id)
        if found is None:
            raise self._not_found(name_or_id)
        return found

    def list(self) -> tuple[Search, ...]:
        """All searches, newest first."""
        return self._select(order=SEARCHES.c.position.desc())

    def running(self) -> tuple[Search, ...]:
        """The searches that have not ended, oldest first."""
        return self._select(SEARCHES.c.state == SearchState.RUNNING)

    def by_idempotency_key(self, key: str) -> Search | None:
        """The search that was asked for with this key; an empty key finds nothing."""
        return self._first(SEARCHES.c.idempotency_key == key) if key else None

    def update(self, search: Search, *, expecting: SearchState | None = None) -> None:
        """Replaces the search.

        Args:
            search: What it shall be.
            expecting: The state that the stored search must be in, where one is given.

        Raises:
            ConflictError: It is in another state (reason ``STALE``).
            NotFoundError: There is no such search.
        """
        self._replace_expecting(search, expecting)

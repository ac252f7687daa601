"""Published releases."""

from __future__ import annotations

from orchestrator.releases.release import Release
from orchestrator.storage.repository import IdentifiedRepository
from orchestrator.storage.tables import RELEASES


class ReleaseRepository(IdentifiedRepository[Release]):
    """Releases; never changed. Version and counter are unique within a name."""

    table = RELEASES
    record_type = Release
    kind = "release"
    listing = "fleetfit release list"

    def find(self, ref: str) -> Release:
        """The release with this id, else the one that ``name:version`` names.

        Raises:
            NotFoundError: There is none.
        """
        columns = RELEASES.c
        name, _, version = ref.rpartition(":")
        found = self._first(columns.id == ref) or self._first(columns.name == name, columns.version == version)
        if found is None:
            raise self._not_found(ref)
        return found

    def list(self) -> tuple[Release, ...]:
        """All releases, newest first."""
        return self._select(order=RELEASES.c.position.desc())

    def latest(self, name: str) -> Release | None:
        """The release of this name with the highest counter."""
        newest_first = self._select(RELEASES.c.name == name, order=RELEASES.c.counter.desc(), limit=1)
        return next(iter(newest_first), None)

    def by_manifest(self, manifest_sha256: str) -> Release | None:
        """The release whose manifest has this hash."""
        return self._newest(RELEASES.c.manifest_sha256 == manifest_sha256)

    def _title(self, record: Release) -> str:
        return record.title

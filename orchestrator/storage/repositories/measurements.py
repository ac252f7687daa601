"""What devices measured."""

from __future__ import annotations

from orchestrator.errors import NotFoundError
from orchestrator.fleet.measurement import Measurement
from orchestrator.storage.repository import Repository
from orchestrator.storage.tables import MEASUREMENTS


class MeasurementRepository(Repository[Measurement]):
    """Measurements; never changed and never removed."""

    table = MEASUREMENTS
    record_type = Measurement
    kind = "measurement"

    def add_once(self, measurement: Measurement) -> bool:
        """Stores the measurement, unless one with its result id is stored already.

        Returns:
            Whether it was new.
        """
        return self._insert_once(measurement)

    def get(self, result_id: str) -> Measurement:
        """The measurement with this result id.

        Raises:
            NotFoundError: There is none.
        """
        found = self._first(MEASUREMENTS.c.result_id == result_id)
        if found is None:
            raise NotFoundError(f"there is no measurement '{result_id}'")
        return found

    def list(self, artifact_sha256: str | None = None, device_id: str | None = None) -> tuple[Measurement, ...]:
        """The measurements of an artifact, of a device, or of both; oldest first."""
        columns = MEASUREMENTS.c
        conditions = []
        if artifact_sha256 is not None:
            conditions.append(columns.artifact_sha256 == artifact_sha256)
        if device_id is not None:
            conditions.append(columns.device_id == device_id)
        return self._select(*conditions)

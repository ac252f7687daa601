"""Which device came of which join token and key."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.errors import ConflictError
from orchestrator.storage.repository import Repository
from orchestrator.storage.tables import ENROLMENTS


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEnrolment:
    """One machine that became a device."""

    token_id: str
    key_fingerprint: str
    device_id: str


class EnrolmentRepository(Repository[StoredEnrolment]):
    """What makes enrolment safe to repeat: the same token and key lead to the same device.

    An enrolment is forgotten with its device.
    """

    table = ENROLMENTS
    record_type = StoredEnrolment
    kind = "enrolment"

    def add(self, token_id: str, key_fingerprint: str, device_id: str) -> None:
        """Notes which device the token and the key made.

        Raises:
            ConflictError: They made one already.
            NotFoundError: There is no such token or device.
        """
        enrolment = StoredEnrolment(token_id=token_id, key_fingerprint=key_fingerprint, device_id=device_id)
        if not self._insert_once(enrolment):
            raise ConflictError("this token and key have made a device already", reason="ALREADY_EXISTS")

    def find(self, token_id: str, key_fingerprint: str) -> str | None:
        """Id of the device that the token and the key made."""
        columns = ENROLMENTS.c
        found = self._first(columns.token_id == token_id, columns.key_fingerprint == key_fingerprint)
        return None if found is None else found.device_id

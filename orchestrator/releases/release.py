"""A release: a signed artifact with its manifest; immutable."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """One published release."""

    id: str
    name: str
    version: str
    # Rises with each release of a name.
    counter: int
    # Path of the manifest in the release repository.
    manifest_path: str
    manifest_sha256: str
    # The manifest as signed.
    manifest_json: str
    artifact_sha256: str
    artifact_size_bytes: int
    artifact_format: str
    search_id: str
    trial_id: str
    created_at: datetime

    @property
    def title(self) -> str:
        """``name:version``, as users write it."""
        return f"{self.name}:{self.version}"

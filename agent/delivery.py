"""Where bytes come from: the one seam between the agent and whatever serves artifacts and repository files."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol


class Delivery(Protocol):
    """Serves bytes and promises nothing: whoever receives them checks them."""

    def fetch_artifact(self, sha256: str, *, offset: int = 0) -> AsyncIterator[bytes]:
        """Yields the artifact's bytes from ``offset`` on.

        Raises:
            UnreachableError: The orchestrator went away; the caller may resume later.
            ArtifactRefusedError: The orchestrator does not have it, or will not give it to this device.
        """
        ...

    async def fetch_repository_file(self, path: str) -> bytes | None:
        """The file of the release repository at ``path``; None where there is none.

        Raises:
            UnreachableError: The orchestrator went away.
        """
        ...

"""The proof of a release: whatever the orchestrator asks for, the release repository must have signed it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from agent.delivery import Delivery
from agent.errors import SignatureRefusedError
from agent.update.manifest import Manifest, is_sha256, is_target_path, parse_manifest
from agent.update.proof import ProofRequest, Prove, prove_apart
from agent.update.release import DesiredRelease


class ReleaseVerifier:
    """Proves releases against the root of trust that the device was given when it joined.

    Args:
        trust_dir: Holds ``root.json``; verified metadata is kept beside it.
        delivery: Where the repository's files come from; trusted with nothing.
        clock: The time that expiry is held against.
        prove: Runs the TUF client.
    """

    def __init__(
        self, *, trust_dir: Path, delivery: Delivery, clock: Callable[[], datetime], prove: Prove = prove_apart
    ) -> None:
        self._trust_dir = trust_dir
        self._delivery = delivery
        self._clock = clock
        self._prove = prove

    async def prove(self, desired: DesiredRelease) -> tuple[Manifest, bytes]:
        """The manifest of the desired release, and its bytes.

        Raises:
            SignatureRefusedError: The repository does not prove it; the message names the attack.
            IncompatibleReleaseError: The manifest has a schema that this agent does not know.
            UnreachableError: The orchestrator went away.
            NoSpaceError: The disk is full.
            ConfigurationError: The metadata cannot be kept.
            DeliveryError: The proof ended without an answer.
        """
        if not is_sha256(desired.manifest_sha256) or not is_target_path(desired.manifest_path):
            raise SignatureRefusedError("the orchestrator asks for a release by a path or hash that none can have")
        request = ProofRequest(
            path=desired.manifest_path,
            sha256=desired.manifest_sha256,
            trust_root=self._trust_dir / "root.json",
            directory=self._trust_dir / "tuf",
            now=self._clock(),
        )
        manifest_json = await self._prove(request, self._delivery.fetch_repository_file)
        manifest = parse_manifest(manifest_json)
        if manifest.target_path != desired.manifest_path:
            raise SignatureRefusedError(
                f"the manifest at {desired.manifest_path} is of {manifest.name}:{manifest.version}"
            )
        return manifest, manifest_json

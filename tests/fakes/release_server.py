"""A release repository and artifacts as a device meets them: really signed, and served by what can misbehave."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from agent.errors import ArtifactRefusedError, UnreachableError
from agent.update.release import DesiredRelease
from orchestrator.errors import NotFoundError
from orchestrator.releases.manifest import ArtifactFile, Compatibility, Golden, Interface, Provenance, make_manifest
from orchestrator.releases.repository import ReleaseRepository

NOON = datetime(2026, 11, 24, 12, tzinfo=timezone.utc)
CHUNK_BYTES = 1000


@dataclass
class Clock:
    """A clock that goes when it is told to."""

    now: datetime = NOON

    def __call__(self) -> datetime:
        return self.now

    def pass_time(self, **time: float) -> None:
        self.now += timedelta(**time)


@dataclass
class ReleaseServer:
    """Signs with the orchestrator's own repository; serves what it has, or what a test makes of that."""

    folder: Path
    clock: Clock = field(default_factory=Clock)
    blobs: dict[str, bytes] = field(default_factory=dict)
    # What a test wants to happen to a repository file on its way.
    alter: Callable[[str, bytes | None], bytes | None] = lambda path, data: data
    reachable: bool = True
    # Bytes of artifacts after which the connection is lost, once each.
    cuts: list[int] = field(default_factory=list)
    served_bytes: int = 0
    fetched: list[str] = field(default_factory=list)
    deployments: int = 0

    def __post_init__(self) -> None:
        self.repository = ReleaseRepository.open(
            self.folder / "repository", keys_directory=self.folder / "keys", now=self.clock()
        )

    def trust(self, state_dir: Path) -> None:
        """What joining does."""
        (state_dir / "trust").mkdir(parents=True, exist_ok=True)
        (state_dir / "trust" / "root.json").write_bytes(self.repository.trust_root())

    def blob(self, data: bytes) -> str:
        name = hashlib.sha256(data).hexdigest()
        self.blobs[name] = data
        return name

    def manifest(self, *, version: str = "1", counter: int = 1, model: bytes = b"a model", **parts: Any) -> bytes:
        golden = b"golden " + model[:20]
        given: dict[str, Any] = {
            "name": "digits",
            "version": version,
            "counter": counter,
            "compat": Compatibility(),
            "io": Interface(inputs=(), outputs=()),
            "file": ArtifactFile(path="model.onnx", size_bytes=len(model), sha256=self.blob(model), format="onnx"),
            "golden": Golden(sha256=self.blob(golden), size_bytes=len(golden), tolerance=0.01),
            "budgets": (),
            "metrics": (),
            "provenance": Provenance(
                search_id="s",
                search_name="digits",
                trial_id="t",
                trial_number=1,
                trial_title="",
                recipe_sha256="0" * 64,
                workload_sha256="",
                seed=0,
                tools={},
            ),
        } | parts
        return make_manifest(**given).canonical_json()

    def release(self, *, version: str = "1", counter: int = 1, **parts: Any) -> DesiredRelease:
        """A signed release, as the orchestrator would ask for it."""
        manifest = self.manifest(version=version, counter=counter, **parts)
        name = parts.get("name", "digits")
        self.repository.publish(f"{name}/{version}.json", manifest, now=self.clock())
        return self.desire(f"{name}/{version}.json", manifest)

    def desire(self, path: str, manifest: bytes) -> DesiredRelease:
        self.deployments += 1
        return DesiredRelease(
            deployment_id=f"deployment-{self.deployments}",
            manifest_path=path,
            manifest_sha256=hashlib.sha256(manifest).hexdigest(),
        )

    def again(self, desired: DesiredRelease) -> DesiredRelease:
        """The same release in a new deployment."""
        self.deployments += 1
        return DesiredRelease(
            deployment_id=f"deployment-{self.deployments}",
            manifest_path=desired.manifest_path,
            manifest_sha256=desired.manifest_sha256,
        )

    async def fetch_artifact(self, sha256: str, *, offset: int = 0) -> AsyncIterator[bytes]:
        self.fetched.append(sha256)
        self._check_reachable()
        if sha256 not in self.blobs:
            raise ArtifactRefusedError(f"there is no {sha256}")
        data = self.blobs[sha256]
        for start in range(offset, len(data), CHUNK_BYTES):
            if self.cuts and self.served_bytes >= self.cuts[0]:
                self.cuts.pop(0)
                raise UnreachableError("the connection was lost")
            chunk = data[start : start + CHUNK_BYTES]
            self.served_bytes += len(chunk)
            yield chunk

    async def fetch_repository_file(self, path: str) -> bytes | None:
        self.fetched.append(path)
        self._check_reachable()
        data: bytes | None
        try:
            data = self.repository.file(path)
        except NotFoundError:
            data = None
        return self.alter(path, data)

    def _check_reachable(self) -> None:
        if not self.reachable:
            raise UnreachableError("the orchestrator is away")

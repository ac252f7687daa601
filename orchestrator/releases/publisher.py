"""The publisher: makes a release of a trial, and signs it.

The release is in the database before it is in the repository. A process that is killed in between publishes it at its
next start, so what is listed can be delivered.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import uuid
from dataclasses import replace
from itertools import count

from orchestrator.clock import Clock
from orchestrator.errors import ConflictError, FleetfitError, OperationError
from orchestrator.releases.description import Delivered, describe
from orchestrator.releases.golden import read_interface
from orchestrator.releases.manifest import parse_manifest
from orchestrator.releases.release import Release
from orchestrator.releases.repository import ReleaseRepository
from orchestrator.search.search import Search
from orchestrator.search.trial import Trial
from orchestrator.storage.blob_store import BlobStore
from orchestrator.storage.database import Database
from orchestrator.storage.transaction import Transaction

_log = logging.getLogger(__name__)

# How often expiry is looked at; a small part of the shortest time that is left when it is due.
_REFRESH_INTERVAL_S = 3600.0
# Of a version that is signed again, so much stays before what is added; versions have at most 64 characters.
_STEM_LENGTH = 48


class Publisher:
    """Makes releases, keeps the repository's signatures fresh, and hands out its files.

    Args:
        database: Where releases are kept.
        blobs: Where artifacts and golden files are kept.
        repository: What devices hold a release against.
        clock: The time that signatures expire by.
    """

    def __init__(self, *, database: Database, blobs: BlobStore, repository: ReleaseRepository, clock: Clock) -> None:
        self._database = database
        self._blobs = blobs
        self._repository = repository
        self._clock = clock

    async def start(self) -> None:
        """Publishes what an earlier process could only note, and signs again what expires soon.

        Raises:
            OperationError: The repository cannot be written, or the keys for it are missing.
        """
        for release in reversed(await self._database.run(lambda tx: tx.releases.list())):
            await self._sign(release)
        await self.refresh_if_due()

    async def publish(self, *, search: Search, trial: Trial, name: str, version: str) -> Release:
        """The release of a trial, signed. The same trial under the same name and version is the same release.

        Args:
            search: The search that the trial belongs to.
            trial: The trial whose artifact is released.
            name: Name of the release.
            version: Its version; empty: that of this trial's release by this name, else the next number.

        Raises:
            ConflictError: The version exists with another trial, or the trial has no trained artifact.
            InvalidInputError: Name or version cannot be one.
            NotFoundError: The artifact or its golden file is gone.
            OperationError: Their bytes are damaged, or the repository cannot be signed or written.
        """
        tolerance = trial.golden_tolerance
        if not trial.artifact_sha256 or not trial.golden_sha256 or tolerance is None:
            raise ConflictError(
                f"trial {trial.number} of search '{search.name}' has no trained artifact: it is {trial.state.value}",
                hint="choose a trial that was trained: 'fleetfit search show'",
                reason="NO_ARTIFACT",
            )
        delivered = await asyncio.to_thread(self._read, trial, tolerance)
        release_id, now = str(uuid.uuid4()), self._clock()

        def note(tx: Transaction) -> Release:
            same_name = [release for release in tx.releases.list() if release.name == name]
            for release in same_name:
                if release.version == version or (not version and release.trial_id == trial.id):
                    return _same_trial(release, trial)
            taken = {release.version for release in same_name}
            latest = tx.releases.latest(name)
            counter = 1 if latest is None else latest.counter + 1
            chosen = version or next(str(number) for number in count(counter) if str(number) not in taken)
            manifest = describe(search, trial, delivered, name=name, version=chosen, counter=counter)
            manifest_json = manifest.canonical_json()
            release = Release(
                id=release_id,
                name=name,
                version=chosen,
                counter=counter,
                manifest_path=manifest.target_path,
                manifest_sha256=hashlib.sha256(manifest_json).hexdigest(),
                manifest_json=manifest_json.decode(),
                artifact_sha256=trial.artifact_sha256,
                artifact_size_bytes=delivered.artifact_size_bytes,
                artifact_format=trial.format,
                search_id=search.id,
                trial_id=trial.id,
                created_at=now,
            )
            tx.releases.add(release)
            return release

        release = await self._database.run(note)
        await self._sign(release)
        return release

    async def republish(self, release: Release) -> Release:
        """The same artifact as a release of its own, signed, with a counter above all others of the name.

        Devices never accept a lower counter than they have seen, so this is the way back. Where the newest release of
        the name has the artifact already, it is that one.

        Raises:
            InvalidInputError: The manifest is larger than devices accept.
            OperationError: The repository cannot be signed or written.
        """
        release_id, now = str(uuid.uuid4()), self._clock()

        def note(tx: Transaction) -> Release:
            same_name = [other for other in tx.releases.list() if other.name == release.name]
            newest = max(same_name, key=lambda other: other.counter)
            if newest.artifact_sha256 == release.artifact_sha256:
                return newest
            counter = newest.counter + 1
            taken = {other.version for other in same_name}
            stem = release.version[:_STEM_LENGTH]
            version = next(name for number in count(2) if (name := f"{stem}-again-{number}") not in taken)
            old = parse_manifest(release.manifest_json.encode())
            manifest = old.model_copy(update={"counter": counter, "version": version})
            manifest_json = manifest.canonical_json()
            again = replace(
                release,
                id=release_id,
                version=version,
                counter=counter,
                manifest_path=manifest.target_path,
                manifest_sha256=hashlib.sha256(manifest_json).hexdigest(),
                manifest_json=manifest_json.decode(),
                created_at=now,
            )
            tx.releases.add(again)
            return again

        again = await self._database.run(note)
        await self._sign(again)
        return again

    def trust_root(self) -> bytes:
        """The first root metadata, which a device is given when it joins.

        Raises:
            OperationError: It cannot be read.
        """
        return self._repository.trust_root()

    async def repository_file(self, path: str) -> bytes:
        """A file of the release repository.

        Raises:
            NotFoundError: There is none, or the path is not one of a repository file.
            OperationError: It cannot be read.
        """
        return await asyncio.to_thread(self._repository.file, path)

    async def refresh_if_due(self) -> bool:
        """Signs again what expires soon; whether there was anything.

        Raises:
            OperationError: The repository cannot be written.
        """
        return await asyncio.to_thread(self._repository.refresh_if_due, self._clock())

    async def keep_fresh(self) -> None:
        """Signs again what expires soon, for as long as it is not cancelled."""
        while True:
            await asyncio.sleep(_REFRESH_INTERVAL_S)
            try:
                await self.refresh_if_due()
            except FleetfitError as error:
                # Devices refuse releases once the signatures have expired; there is time to tell someone.
                _log.error("the release repository cannot be signed again: %s", error.message)

    async def _sign(self, release: Release) -> None:
        """Puts a release into the repository, if it is what it was when it was noted."""
        data = release.manifest_json.encode()
        if hashlib.sha256(data).hexdigest() != release.manifest_sha256:
            raise OperationError(
                f"the manifest of {release.title} in the database is not the one that was noted",
                hint="restore the database from a copy",
                reason="MANIFEST_DAMAGED",
            )
        path = parse_manifest(data).target_path
        await asyncio.to_thread(lambda: self._repository.publish(path, data, now=self._clock()))

    def _read(self, trial: Trial, tolerance: float) -> Delivered:
        """What the manifest says of the trial's files, whose bytes have been read and hashed."""
        golden = self._blobs.read(trial.golden_sha256)
        return Delivered(
            artifact_size_bytes=self._checked_size(trial.artifact_sha256),
            golden_size_bytes=len(golden),
            golden_tolerance=tolerance,
            interface=read_interface(golden),
        )

    def _checked_size(self, sha256: str) -> int:
        """Size of a blob whose bytes were hashed again, piece by piece: a model may be larger than the memory."""
        hasher, size_bytes = hashlib.sha256(), 0
        for piece in self._blobs.stream(sha256):
            hasher.update(piece)
            size_bytes += len(piece)
        if hasher.hexdigest() != sha256:
            raise OperationError(
                f"artifact {sha256[:12]}… in {self._blobs.place} is damaged: its bytes have another hash",
                hint="nothing was signed; run the search again",
                reason="BLOB_DAMAGED",
            )
        return size_bytes


def _same_trial(release: Release, trial: Trial) -> Release:
    """The release, where it is of this trial.

    Raises:
        ConflictError: It is of another: what was released never changes.
    """
    if release.trial_id != trial.id:
        raise ConflictError(
            f"release '{release.title}' exists already, of another trial",
            hint="choose another version",
            reason="VERSION_TAKEN",
        )
    return release

"""Releases."""

from __future__ import annotations

from fleetfit.v1 import releases_pb2

from orchestrator.api.convert.scalars import timestamp
from orchestrator.releases.release import Release


def release_to_proto(release: Release) -> releases_pb2.Release:
    """The message of a release."""
    return releases_pb2.Release(
        id=release.id,
        name=release.name,
        version=release.version,
        counter=release.counter,
        manifest_path=release.manifest_path,
        manifest_sha256=release.manifest_sha256,
        manifest_json=release.manifest_json,
        artifact_sha256=release.artifact_sha256,
        artifact_size_bytes=release.artifact_size_bytes,
        format=release.artifact_format,
        search_id=release.search_id,
        trial_id=release.trial_id,
        created_at=timestamp(release.created_at),
    )

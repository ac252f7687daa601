"""The service that signs releases and lists them."""

from __future__ import annotations

from typing import Any

import grpc
from fleetfit.v1 import releases_pb2, releases_pb2_grpc

from orchestrator.api.convert.releases import release_to_proto
from orchestrator.api.trial_choice import chosen_trial
from orchestrator.releases.publisher import Publisher
from orchestrator.storage.database import Database


class ReleaseService(releases_pb2_grpc.ReleaseServiceServicer):
    """Releases for operators."""

    def __init__(self, *, database: Database, publisher: Publisher) -> None:
        self._database = database
        self._publisher = publisher

    async def CreateRelease(
        self, request: releases_pb2.CreateReleaseRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> releases_pb2.CreateReleaseResponse:
        """The signed release of a trial."""
        number = request.trial_number if request.HasField("trial_number") else None
        search, trial = await self._database.run(lambda tx: chosen_trial(tx, request.search, number))
        release = await self._publisher.publish(
            search=search, trial=trial, name=request.name or search.name, version=request.version
        )
        return releases_pb2.CreateReleaseResponse(release=release_to_proto(release))

    async def ListReleases(
        self, request: releases_pb2.ListReleasesRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> releases_pb2.ListReleasesResponse:
        """All releases, newest first."""
        releases = await self._database.run(lambda tx: tx.releases.list())
        return releases_pb2.ListReleasesResponse(releases=[release_to_proto(release) for release in releases])

    async def GetRelease(
        self, request: releases_pb2.GetReleaseRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> releases_pb2.GetReleaseResponse:
        """One release by id or ``name:version``."""
        release = await self._database.run(lambda tx: tx.releases.find(request.release))
        return releases_pb2.GetReleaseResponse(release=release_to_proto(release))

"""The service that starts searches, shows how they go on, and hands out what they found."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
from fleetfit.v1 import searches_pb2, searches_pb2_grpc

from orchestrator.api.artifact_chunks import artifact_chunks
from orchestrator.api.convert.searches import search_to_proto, trial_to_proto
from orchestrator.api.trial_choice import chosen_trial
from orchestrator.api.watching import watch
from orchestrator.errors import InvalidInputError
from orchestrator.events import Events
from orchestrator.fleet.device import Device
from orchestrator.fleet.measurement import Measurement
from orchestrator.fleet.selector import select_devices
from orchestrator.search.controller import SearchController
from orchestrator.search.report import render_report
from orchestrator.search.search import Search
from orchestrator.search.spec import SearchSpec, parse_search_spec
from orchestrator.search.trial import Trial
from orchestrator.storage.blob_store import BlobStore
from orchestrator.storage.database import Database
from orchestrator.storage.transaction import Transaction

_WORKLOAD_FILENAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,120}\.py")
_WORKLOAD_LIMIT_BYTES = 512 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class _Snapshot:
    """A search and everything that belongs to it, of one moment."""

    search: Search
    trials: tuple[Trial, ...]
    measurements: dict[str, Measurement]
    devices: tuple[Device, ...]

    @property
    def device_names(self) -> dict[str, str]:
        return {device.id: device.name for device in self.devices}

    def measurements_of(self, trial: Trial) -> dict[str, Measurement]:
        """The newest of each device, by the device's name."""
        names = self.device_names
        return {
            names.get(device_id, device_id): self.measurements[result_id]
            for device_id, result_id in trial.measurement_ids.items()
        }

    def search_message(self) -> searches_pb2.Search:
        return search_to_proto(self.search, trials=self.trials, device_names=self.device_names)

    def trial_messages(self) -> list[searches_pb2.Trial]:
        return [trial_to_proto(trial, measurements=self.measurements_of(trial)) for trial in self.trials]


class SearchService(searches_pb2_grpc.SearchServiceServicer):
    """Searches for operators."""

    def __init__(self, *, database: Database, blobs: BlobStore, events: Events, controller: SearchController) -> None:
        self._database = database
        self._blobs = blobs
        self._events = events
        self._controller = controller

    async def CreateSearch(
        self, request: searches_pb2.CreateSearchRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> searches_pb2.CreateSearchResponse:
        """The search, started."""
        spec = _spec(request.spec_json)
        _check_workload(request.workload_filename, request.workload_source)
        devices = await self._database.run(lambda tx: _selected(spec.devices, tx.devices.list()))
        search = await self._controller.create(
            spec=spec,
            device_ids=tuple(device.id for device in devices),
            workload_filename=request.workload_filename,
            workload_source=request.workload_source,
            idempotency_key=request.idempotency_key[:128],
        )
        snapshot = await self._snapshot(search.id)
        return searches_pb2.CreateSearchResponse(search=snapshot.search_message())

    async def ListSearches(
        self, request: searches_pb2.ListSearchesRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> searches_pb2.ListSearchesResponse:
        """All searches, newest first."""

        def work(tx: Transaction) -> list[searches_pb2.Search]:
            names = {device.id: device.name for device in tx.devices.list()}
            return [
                search_to_proto(search, trials=tx.trials.list(search.id), device_names=names)
                for search in tx.searches.list()
            ]

        return searches_pb2.ListSearchesResponse(searches=await self._database.run(work))

    async def GetSearch(
        self, request: searches_pb2.GetSearchRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> searches_pb2.GetSearchResponse:
        """One search by name or id, with its trials."""
        snapshot = await self._snapshot(request.search)
        return searches_pb2.GetSearchResponse(search=snapshot.search_message(), trials=snapshot.trial_messages())

    async def WatchSearch(
        self, request: searches_pb2.WatchSearchRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[searches_pb2.WatchSearchResponse]:
        """The search whenever it has changed, until it has ended."""
        search_id = (await self._database.run(lambda tx: tx.searches.find(request.search))).id

        async def look() -> tuple[searches_pb2.WatchSearchResponse, bool]:
            snapshot = await self._snapshot(search_id)
            message = searches_pb2.WatchSearchResponse(
                search=snapshot.search_message(), trials=snapshot.trial_messages()
            )
            return message, snapshot.search.state.final

        async for message in watch(self._events, f"search/{search_id}", look):
            yield message

    async def CancelSearch(
        self, request: searches_pb2.CancelSearchRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> searches_pb2.CancelSearchResponse:
        """The search, ended."""
        found = await self._database.run(lambda tx: tx.searches.find(request.search))
        search = await self._controller.cancel(found.id)
        snapshot = await self._snapshot(search.id)
        return searches_pb2.CancelSearchResponse(search=snapshot.search_message())

    async def GetSearchReport(
        self, request: searches_pb2.GetSearchReportRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> searches_pb2.GetSearchReportResponse:
        """The search as a page of its own."""
        snapshot = await self._snapshot(request.search)
        html = await asyncio.to_thread(
            render_report,
            search=snapshot.search,
            trials=snapshot.trials,
            measurements={trial.id: snapshot.measurements_of(trial) for trial in snapshot.trials},
            devices=[device for device in snapshot.devices if device.id in snapshot.search.device_ids],
        )
        return searches_pb2.GetSearchReportResponse(html=html)

    async def DownloadTrialArtifact(
        self, request: searches_pb2.DownloadTrialArtifactRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[searches_pb2.DownloadTrialArtifactResponse]:
        """The artifact of a trial; the first message says what it is."""
        number = request.trial_number if request.HasField("trial_number") else None
        search, trial = await self._database.run(lambda tx: chosen_trial(tx, request.search, number))
        if not trial.artifact_sha256:
            raise InvalidInputError(
                f"trial {trial.number} of search '{search.name}' has no trained artifact: it is {trial.state.value}",
                reason="NO_ARTIFACT",
            )
        size_bytes = await asyncio.to_thread(self._blobs.size, trial.artifact_sha256)
        yield searches_pb2.DownloadTrialArtifactResponse(
            sha256=trial.artifact_sha256, size_bytes=size_bytes, format=trial.format
        )
        async for piece in artifact_chunks(self._blobs, trial.artifact_sha256):
            yield searches_pb2.DownloadTrialArtifactResponse(data=piece)

    async def _snapshot(self, search_name: str) -> _Snapshot:
        def work(tx: Transaction) -> _Snapshot:
            search = tx.searches.find(search_name)
            trials = tx.trials.list(search.id)
            result_ids = {result_id for trial in trials for result_id in trial.measurement_ids.values()}
            return _Snapshot(
                search=search,
                trials=trials,
                measurements={result_id: tx.measurements.get(result_id) for result_id in result_ids},
                devices=tx.devices.list(),
            )

        return await self._database.run(work)


def _spec(spec_json: str) -> SearchSpec:
    """The spec that a client sends.

    Raises:
        InvalidInputError: It is not a JSON object, or not a spec.
    """
    try:
        data = json.loads(spec_json)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError("the spec is not JSON") from error
    if not isinstance(data, dict):
        raise InvalidInputError("the spec is not a JSON object")
    return parse_search_spec(data)


def _check_workload(filename: str, source: bytes) -> None:
    """Lets a workload pass that may be one; what is in it is looked at by the worker that runs it.

    Raises:
        InvalidInputError: Its name is not that of a Python file, or it is empty or too large.
    """
    if not _WORKLOAD_FILENAME.fullmatch(filename):
        raise InvalidInputError(f"{filename[:80]!r} is not the name of a Python file", hint="for example digits.py")
    if not source.strip():
        raise InvalidInputError(f"{filename}: the workload is empty", hint="'fleetfit init' writes one to start from")
    if len(source) > _WORKLOAD_LIMIT_BYTES:
        raise InvalidInputError(
            f"{filename}: the workload has {len(source)} bytes: {_WORKLOAD_LIMIT_BYTES} are allowed",
            hint="load data from files or packages instead of writing it into the workload",
        )


def _selected(selectors: Sequence[str], devices: tuple[Device, ...]) -> tuple[Device, ...]:
    """The devices of all selectors, each once."""
    found = {device.id: device for text in selectors for device in select_devices(text, devices)}
    return tuple(found.values())

"""The pieces of work that bring a trial on, each written down when it is done, and never done again after that."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any, Protocol, TypeVar

from orchestrator.execution.engine import Engine
from orchestrator.execution.tasks import BuildDraft, CompressVariant, TrainBaseline, WorkloadFile
from orchestrator.fleet.device import Device
from orchestrator.fleet.measurement import Measurement, MeasureRequest
from orchestrator.search.journal import Journal, Snapshot
from orchestrator.search.measurement_cache import shared_measurement
from orchestrator.search.progress import ProgressWriter
from orchestrator.search.samplers.sampler import Effort
from orchestrator.search.spec import MeasuringSpec
from orchestrator.search.stages import Begun, Built, Confirmed, Measured, Trained
from orchestrator.search.trial import Trial, TrialState
from orchestrator.storage.blob_store import BlobStore
from orchestrator.storage.database import Database

ResultT = TypeVar("ResultT")


class Measuring(Protocol):
    """Whoever has devices measure."""

    async def measure(
        self, *, key: str, device_id: str, request: MeasureRequest, on_progress: Callable[[str], None]
    ) -> Measurement:
        """What the device measured; asked again with the same key, the same."""

    async def cancel(self, key: str) -> None:
        """Ends what was asked for with this key, where it has not ended."""


class TrialWork:
    """Does the work of one search's trials."""

    def __init__(
        self,
        *,
        database: Database,
        blobs: BlobStore,
        engine: Engine,
        measuring: Measuring,
        journal: Journal,
        progress: ProgressWriter,
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._engine = engine
        self._measuring = measuring
        self._journal = journal
        self._progress = progress
        self._bytes: dict[str, bytes] = {}

    async def train_baseline(self, snapshot: Snapshot) -> tuple[Trial, ...]:
        """Trains what every recipe starts from.

        Raises:
            WorkloadFailedError: The user's code raised.
            OperationError: It could not be trained.
        """
        search, trial = snapshot.search, snapshot.baseline
        if trial.state is TrialState.QUEUED:
            await self._journal.record(search.id, trial.id, Begun())
        tell = self._progress.tell(trial.id, TrialState.BUILDING)
        tell("starting workers")
        await self._engine.start()
        task = TrainBaseline(workload=await self._workload(snapshot), seed=search.spec.seed)
        trained = await self._engine.run(task, on_progress=tell)
        await self._journal.note_baseline(
            search.id,
            checkpoint_sha256=await self._put(trained.checkpoint),
            metric_name=trained.metric_name,
            train_s=trained.train_s,
        )
        return ()

    async def do(self, effort: Effort, trial: Trial, snapshot: Snapshot) -> tuple[Trial, ...]:
        """Does what the trial needs next; returns the trials that have changed by it.

        Raises:
            WorkloadFailedError: The user's code raised.
            OperationError: It could not be done.
        """
        pieces: Mapping[Effort, Callable[[Trial, Snapshot], Coroutine[Any, Any, tuple[Trial, ...]]]] = {
            Effort.BUILD: self._build,
            Effort.MEASURE: self._measure,
            Effort.TRAIN: self._train,
            Effort.CONFIRM: self._confirm,
        }
        return await pieces[effort](trial, snapshot)

    async def abandon(self, trial: Trial, device_ids: Iterable[str]) -> None:
        """Takes back what devices were asked to measure of the trial."""
        for device_id in device_ids:
            for state in (TrialState.MEASURING, TrialState.CONFIRMING):
                await self._measuring.cancel(_key(trial, state, device_id))

    async def _build(self, trial: Trial, snapshot: Snapshot) -> tuple[Trial, ...]:
        search = snapshot.search
        if trial.state is TrialState.QUEUED:
            await self._journal.record(search.id, trial.id, Begun())
        task = BuildDraft(
            workload=await self._workload(snapshot),
            recipe_json=trial.recipe_json,
            baseline=await self._read(search.baseline_sha256),
            seed=search.spec.seed,
        )
        draft = await self._engine.run(task, on_progress=self._progress.tell(trial.id, TrialState.BUILDING))
        built = Built(
            format=draft.format,
            size_bytes=draft.size_bytes,
            structure_sha256=draft.structure_sha256,
            draft_sha256=await self._put(draft.artifact),
            passes_json=draft.passes_json,
        )
        return await self._journal.record(search.id, trial.id, built)

    async def _train(self, trial: Trial, snapshot: Snapshot) -> tuple[Trial, ...]:
        search = snapshot.search
        task = CompressVariant(
            workload=await self._workload(snapshot),
            recipe_json=trial.recipe_json,
            baseline=await self._read(search.baseline_sha256),
            seed=search.spec.seed,
        )
        tell = self._progress.tell(trial.id, TrialState.TRAINING)
        tell("waits for a worker")
        variant = await self._engine.run(task, on_progress=tell)
        trained = Trained(
            artifact_sha256=await self._put(variant.artifact),
            size_bytes=variant.size_bytes,
            structure_sha256=variant.structure_sha256,
            passes_json=variant.passes_json,
            accuracy=variant.accuracy,
            train_s=variant.train_s,
            golden_sha256=await self._put(variant.golden),
            golden_tolerance=variant.golden_tolerance,
        )
        return await self._journal.record(search.id, trial.id, trained)

    async def _measure(self, trial: Trial, snapshot: Snapshot) -> tuple[Trial, ...]:
        """Has one device of each class measure the draft; devices of one class share what it finds."""
        search = snapshot.search
        classes: dict[str, list[Device]] = {}
        for device in snapshot.devices.values():
            classes.setdefault(device.device_class, []).append(device)
        request = _request(trial, trial.draft_sha256, search.spec.measuring)
        asked = [
            # Trials take turns, so that no device of a class works while the others rest.
            self._measured_or_shared(trial, members[trial.number % len(members)], request, search.spec.measuring)
            for members in classes.values()
        ]
        found = await _all_of(asked)
        by_device = {
            device.id: measurement
            for members, measurement in zip(classes.values(), found, strict=True)
            for device in members
        }
        return await self._journal.record(search.id, trial.id, Measured(measurements=by_device))

    async def _confirm(self, trial: Trial, snapshot: Snapshot) -> tuple[Trial, ...]:
        """Has every device measure the finished artifact anew, and compare its outputs."""
        search, devices = snapshot.search, tuple(snapshot.devices)
        golden_size_bytes = await asyncio.to_thread(self._blobs.size, trial.golden_sha256)
        request = _request(trial, trial.artifact_sha256, search.spec.measuring, golden_size_bytes=golden_size_bytes)
        found = await _all_of([self._ask(trial, device_id, request) for device_id in devices])
        confirmed = Confirmed(measurements=dict(zip(devices, found, strict=True)))
        return await self._journal.record(search.id, trial.id, confirmed)

    async def _measured_or_shared(
        self, trial: Trial, device: Device, request: MeasureRequest, settings: MeasuringSpec
    ) -> Measurement:
        shared = await self._database.run(lambda tx: shared_measurement(tx, trial, device, settings))
        return shared or await self._ask(trial, device.id, request)

    async def _ask(self, trial: Trial, device_id: str, request: MeasureRequest) -> Measurement:
        return await self._measuring.measure(
            key=_key(trial, trial.state, device_id),
            device_id=device_id,
            request=request,
            on_progress=self._progress.tell(trial.id, trial.state),
        )

    async def _workload(self, snapshot: Snapshot) -> WorkloadFile:
        search = snapshot.search
        return WorkloadFile(filename=search.workload_filename, source=await self._read(search.workload_sha256))

    async def _put(self, data: bytes) -> str:
        return await asyncio.to_thread(self._blobs.put, data)

    async def _read(self, sha256: str) -> bytes:
        """The blob; what every trial needs is kept in memory as long as the search runs."""
        if sha256 not in self._bytes:
            self._bytes[sha256] = await asyncio.to_thread(self._blobs.read, sha256)
        return self._bytes[sha256]


def _key(trial: Trial, state: TrialState, device_id: str) -> str:
    """Names a measurement by its purpose: asked for again after a crash, it is the same one."""
    return f"{trial.id}:{state.value}:{device_id}"


def _request(
    trial: Trial, artifact_sha256: str, settings: MeasuringSpec, *, golden_size_bytes: int = 0
) -> MeasureRequest:
    return MeasureRequest(
        artifact_sha256=artifact_sha256,
        artifact_size_bytes=trial.size_bytes or 0,
        artifact_format=trial.format,
        runtime=settings.runtime,
        threads=settings.threads,
        minimum_samples=settings.samples,
        minimum_duration_s=settings.minimum_duration_s,
        maximum_duration_s=settings.maximum_duration_s,
        golden_sha256=trial.golden_sha256 if golden_size_bytes else "",
        golden_size_bytes=golden_size_bytes,
        golden_tolerance=(trial.golden_tolerance or 0.0) if golden_size_bytes else 0.0,
    )


async def _all_of(work: Iterable[Coroutine[Any, Any, ResultT]]) -> list[ResultT]:
    """The results in order; when one fails or the caller is cancelled, none goes on."""
    tasks = [asyncio.ensure_future(piece) for piece in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()

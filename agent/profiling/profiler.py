"""Measures artifacts on this device: takes the machine for itself, starts a worker, makes a measurement of its end."""

from __future__ import annotations

import asyncio
import hashlib
import os
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

from agent.meters.catalogue import available_meters
from agent.meters.meter import Meter
from agent.profiling.ending import explain
from agent.profiling.exclusion import HostLock
from agent.profiling.gate import inspect
from agent.profiling.host import Host
from agent.profiling.measurement import Conditions, Measurement, MeasureRequest, Outcome
from agent.profiling.metering import Metering
from agent.profiling.process import run_worker
from agent.profiling.worker_protocol import Failure, Histogram, Job, Loaded, Message, MeterWanted, Progress, Report

_DEFAULT_TIMEOUT_S = 300.0
_MEMORY_FRACTION = 0.8
_LEAST_MEMORY_BYTES = 256 * 1024 * 1024
_SPARE_PROCESSOR_S = 30
_LONGEST_LINE = 300

_MINIMUM_WARM_UP_S = 1.0
_MAXIMUM_WARM_UP_S = 60.0
_WARM_UP_SHARE_OF_DURATION = 1 / 3

# A check asks whether the model runs, is right, and is about as fast as it was.
_CHECK = MeasureRequest(
    artifact_sha256="",
    artifact_size_bytes=0,
    artifact_format="",
    minimum_samples=20,
    minimum_duration_s=0.2,
    maximum_duration_s=5.0,
)
_CHECK_WARM_UP_S = 0.1


class Profiler:
    """Measures one artifact at a time; a second one waits, as it does for training on this machine.

    Args:
        meters: Energy meters, the best first; the first is used. By default those that this device has.
        memory_limit_bytes: What a worker may allocate; by default most of what is free when it starts.
        timeout_s: Wall time for one worker, energy blocks not counted.
        host_lock: What excludes training and other measurements on this machine.
        root: Where ``/proc`` and ``/sys`` are looked up.
        on_histogram: Told how the latencies of each timed run are spread, which no measurement carries.
    """

    def __init__(
        self,
        *,
        meters: Sequence[Meter] | None = None,
        memory_limit_bytes: int | None = None,
        timeout_s: float = _DEFAULT_TIMEOUT_S,
        host_lock: HostLock | None = None,
        root: Path = Path("/"),
        on_histogram: Callable[[Histogram], None] = lambda histogram: None,
    ) -> None:
        self._meters = available_meters(root) if meters is None else tuple(meters)
        self._memory_limit_bytes = memory_limit_bytes
        self._timeout_s = timeout_s
        self._host_lock = host_lock or HostLock()
        self._root = root
        self._on_histogram = on_histogram
        self._host = Host(root)

    async def measure(
        self,
        request: MeasureRequest,
        *,
        artifact_path: Path,
        golden_path: Path | None,
        on_progress: Callable[[str], None],
    ) -> Measurement:
        """The measurement that was asked for; whatever a model does to its worker is an outcome, not an exception.

        Cancelling the task that awaits this kills the worker's process group before the cancellation goes on.

        Raises:
            ConfigurationError: The machine's lock cannot be used.
        """
        longest_s = min(_MAXIMUM_WARM_UP_S, request.maximum_duration_s * _WARM_UP_SHARE_OF_DURATION)
        shortest_s = min(_MINIMUM_WARM_UP_S, longest_s)
        metering = Metering(self._meters[0] if self._meters else None)
        job = self._job(request, artifact_path, golden_path, warm_up_s=(shortest_s, longest_s))
        return await self._run(replace(job, energy=metering.schedule()), request, metering, on_progress)

    async def check(
        self,
        *,
        artifact_path: Path,
        artifact_format: str,
        golden_path: Path | None,
        tolerance: float,
        runtime: str = "",
        on_progress: Callable[[str], None],
    ) -> Measurement:
        """A short run: the artifact is loaded, compared with its golden outputs, and timed for a moment. No energy.

        Cancelling works as in `measure`.

        Raises:
            ConfigurationError: The machine's lock cannot be used.
        """
        request = replace(
            _CHECK,
            artifact_sha256=await asyncio.to_thread(_sha256, artifact_path),
            artifact_format=artifact_format,
            runtime=runtime,
            golden_tolerance=tolerance,
        )
        job = self._job(request, artifact_path, golden_path, warm_up_s=(_CHECK_WARM_UP_S, _CHECK_WARM_UP_S))
        return await self._run(job, request, Metering(None), on_progress)

    def _job(
        self, request: MeasureRequest, artifact_path: Path, golden_path: Path | None, *, warm_up_s: tuple[float, float]
    ) -> Job:
        busy_processors = request.threads or os.cpu_count() or 1
        return Job(
            artifact_path=str(artifact_path.resolve()),
            artifact_format=request.artifact_format,
            runtime=request.runtime,
            threads=request.threads,
            golden_path=str(golden_path.resolve()) if golden_path else "",
            golden_tolerance=request.golden_tolerance,
            minimum_samples=max(request.minimum_samples, 1),
            minimum_duration_s=request.minimum_duration_s,
            maximum_duration_s=request.maximum_duration_s,
            minimum_warm_up_s=warm_up_s[0],
            maximum_warm_up_s=warm_up_s[1],
            memory_limit_bytes=self._memory_limit(),
            # The wall clock ends a worker first, unless the agent is gone.
            processor_limit_s=int(self._timeout_s * busy_processors) + _SPARE_PROCESSOR_S,
            agent_process_id=os.getpid(),
            root=str(self._root),
        )

    async def _run(
        self, job: Job, request: MeasureRequest, metering: Metering, on_progress: Callable[[str], None]
    ) -> Measurement:
        def on_message(message: Message) -> None:
            if isinstance(message, Progress):
                on_progress(_one_line(message.stage))
            elif isinstance(message, MeterWanted):
                metering.start()

        async with self._host_lock.exclusive(on_wait=lambda: on_progress("waiting for training on this host to pause")):
            findings = await inspect(self._host)
            kills_before = self._host.memory_kill_count()
            timeout_s = self._timeout_s
            if job.energy is not None:
                timeout_s += job.energy.duration_s + job.energy.pairs * job.energy.longest_block_s
            on_progress("starting the worker")
            try:
                end = await run_worker(
                    replace(job, memory_limit_bytes=self._memory_limit(), remarks=findings.remarks),
                    timeout_s=timeout_s,
                    on_message=on_message,
                )
            finally:
                metering.stop()
        conclusion = end.conclusion
        if conclusion is None:
            outcome, detail = explain(
                end,
                timeout_s=timeout_s,
                killed_for_memory=self._host.memory_kill_count() != kills_before,
            )
            conclusion = Failure(outcome=outcome, detail=detail)
        if isinstance(conclusion, Report) and conclusion.histogram is not None:
            self._on_histogram(conclusion.histogram)
        return _measurement(conclusion, request, findings.conditions, metering)

    def _memory_limit(self) -> int:
        if self._memory_limit_bytes is not None:
            return self._memory_limit_bytes
        available = self._host.available_memory_bytes() or 0
        return max(_LEAST_MEMORY_BYTES, int(available * _MEMORY_FRACTION))


def _measurement(
    conclusion: Report | Failure, request: MeasureRequest, conditions: Conditions, metering: Metering
) -> Measurement:
    measurement = Measurement(
        result_id=uuid.uuid4().hex,
        artifact_sha256=request.artifact_sha256,
        outcome=Outcome.OK,
        measured_at=datetime.now(timezone.utc),
        memory=conclusion.memory,
        numerics=conclusion.numerics,
        conditions=_with_runtime(conditions, conclusion.loaded, request.threads),
    )
    if isinstance(conclusion, Failure):
        return replace(measurement, outcome=conclusion.outcome, detail=_one_line(conclusion.detail))
    energy = metering.energy(conclusion, threads=request.threads)
    return replace(measurement, latency=conclusion.latency, energy=energy)


def _with_runtime(conditions: Conditions, loaded: Loaded | None, threads: int) -> Conditions:
    if loaded is None:
        return replace(conditions, threads=threads)
    return replace(
        conditions,
        runtime=loaded.runtime,
        runtime_version=loaded.runtime_version,
        provider=loaded.provider,
        threads=threads,
    )


def _one_line(text: str) -> str:
    """What a worker says, fit to be shown: it may hold whatever a model or a library put there."""
    return " ".join("".join(c if c.isprintable() else " " for c in text[:_LONGEST_LINE]).split())


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1024 * 1024):
            digest.update(chunk)
    return digest.hexdigest()

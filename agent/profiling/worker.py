"""The measuring worker: a process that loads one runtime and one model, measures, and ends.

Run by the agent as ``python -m agent.profiling.worker RESULT_FD`` with a `Job` on standard input. Whatever happens to
it happens to it alone.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from agent.profiling.blocks import run_blocks
from agent.profiling.decoding import decode, parse
from agent.profiling.histogram import histogram_of
from agent.profiling.host import Host
from agent.profiling.inputs import Golden, GoldenError, golden_samples, random_sample, read_golden, rotation
from agent.profiling.latency import Exercise, Plan, TimedRun, WarmUp, time_model, warm_up
from agent.profiling.measurement import Figure, Latency, Numerics, Outcome
from agent.profiling.memory import PeakMemory
from agent.profiling.numerics import NumericsError, compare_outputs
from agent.profiling.quality import concerns_about, verdict
from agent.profiling.sandbox import die_with, forbid_processes_and_sockets, limit_resources
from agent.profiling.statistics import minimum_count, percentile
from agent.profiling.worker_protocol import (
    EnergyBlock,
    Failure,
    Job,
    Loaded,
    Message,
    MeterWanted,
    Progress,
    Report,
    encode_message,
)
from agent.runtimes.catalogue import choose_runtime
from agent.runtimes.errors import RuntimeUnavailableError, UnsupportedModelError
from agent.runtimes.runtime import Model

_QUANTILES = {"p50_ms": 0.50, "p90_ms": 0.90, "p95_ms": 0.95, "p99_ms": 0.99}
_NS_PER_MS = 1e6

T = TypeVar("T")


class Channel:
    """The pipe to the agent."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def send(self, message: Message) -> None:
        """Writes the whole message."""
        line = encode_message(message)
        while line:
            line = line[os.write(self._descriptor, line) :]

    def progress(self, stage: str) -> None:
        """Tells the agent what the worker is doing."""
        self.send(Progress(stage=stage))


class Measuring:
    """One measurement, step by step; what is known so far is told with a failure too."""

    def __init__(self, job: Job, channel: Channel) -> None:
        self._job = job
        self._channel = channel
        self._host = Host(Path(job.root))
        self._loaded: Loaded | None = None
        self._memory: PeakMemory | None = None

    def outcome(self) -> Report | Failure:
        """The report; or why there is none, where that is the model's or the device's doing."""
        try:
            return self._measure()
        except RuntimeUnavailableError as error:
            return self._failure(Outcome.RUNTIME_UNAVAILABLE, error)
        except UnsupportedModelError as error:
            return self._failure(Outcome.UNSUPPORTED, error)
        except MemoryError as error:
            return self._failure(Outcome.OUT_OF_MEMORY, error)
        except GoldenError as error:
            return self._failure(Outcome.NUMERICS_FAILED, error)
        except NumericsError as error:
            return self._failure(Outcome.NUMERICS_FAILED, error, error.numerics)

    def _measure(self) -> Report:
        job = self._job
        self._channel.progress("loading the runtime")
        runtime = choose_runtime(job.artifact_format, name=job.runtime)
        golden = read_golden(Path(job.golden_path)) if job.golden_path else None
        self._loaded = Loaded(runtime=runtime.name, runtime_version=runtime.version(), provider="")
        self._memory = PeakMemory()

        self._channel.progress("loading the model")
        artifact = Path(job.artifact_path)
        _drop_from_page_cache(artifact)
        model, load_ms = _timed_ms(lambda: runtime.load(artifact, threads=job.threads))
        self._loaded = Loaded(runtime=runtime.name, runtime_version=runtime.version(), provider=model.provider)
        samples = golden_samples(golden, model.inputs) if golden else (random_sample(model.inputs),)
        exercise = Exercise(model, rotation(samples))
        _, first_inference_ms = _timed_ms(exercise.run)
        self._memory.end_stage()
        numerics = self._numerics(model, golden)
        self._memory.end_stage()

        self._channel.progress("warming up")
        warmed = warm_up(exercise, minimum_s=job.minimum_warm_up_s, maximum_s=job.maximum_warm_up_s)
        run, notes = self._time(exercise, warmed)
        self._memory.end_stage()

        concerns = concerns_about(run.observations)
        figures = {name: _figure(run, quantile) for name, quantile in _QUANTILES.items()}
        notes += tuple(
            f"no {name.removesuffix('_ms')}: it needs {minimum_count(_QUANTILES[name])} samples"
            for name, figure in figures.items()
            if figure is None
        )
        latency = Latency(
            **figures,
            mean_ms=float(run.samples_ns.mean()) / _NS_PER_MS,
            minimum_ms=float(run.samples_ns.min()) / _NS_PER_MS,
            sample_count=len(run.samples_ns),
            load_ms=load_ms,
            first_inference_ms=first_inference_ms,
            warm_up_count=warmed.count,
            steady_state=warmed.steady_state,
            quality=verdict(concerns),
            remarks=concerns + job.remarks + notes,
        )
        blocks: tuple[EnergyBlock, ...] = ()
        if job.energy is not None:
            self._channel.progress(f"reading the energy meter for {job.energy.duration_s:.0f} s")
            self._channel.send(MeterWanted())
            blocks = run_blocks(exercise, job.energy)
        return Report(
            loaded=self._loaded,
            latency=latency,
            memory=self._memory.measured(),
            numerics=numerics,
            energy_blocks=blocks,
            histogram=histogram_of(run.samples_ns / _NS_PER_MS),
        )

    def _numerics(self, model: Model, golden: Golden | None) -> Numerics:
        if golden is None:
            return Numerics(checked=False)
        self._channel.progress("comparing with the reference outputs")
        samples = golden_samples(golden, model.inputs)
        return compare_outputs(model, samples, tolerance_fraction=self._job.golden_tolerance)

    def _time(self, exercise: Exercise, warmed: WarmUp) -> tuple[TimedRun, tuple[str, ...]]:
        """The timed run, made a second time where the first was disturbed and there is time; the quieter one counts."""
        plan = Plan(
            minimum_samples=self._job.minimum_samples,
            minimum_duration_s=self._job.minimum_duration_s,
            maximum_duration_s=self._job.maximum_duration_s,
        )
        run = time_model(exercise, plan, warmed, self._host, self._channel.progress)
        notes = []
        # A warm-up that did not end well is not mended by timing again.
        concerns = concerns_about(replace(run.observations, steady_state=True))
        if concerns and run.observations.complete and 2 * run.duration_s <= plan.maximum_duration_s:
            self._channel.progress("timing again, because the first run was disturbed")
            second = time_model(exercise, plan, warmed, self._host, self._channel.progress)
            if _disturbance(second) < _disturbance(run):
                run = second
            notes.append(f"timed twice: in the first run, {concerns[0]}")
        if run.block_size > 1:
            notes.append(f"each sample is the mean of {run.block_size} inferences")
        return run, tuple(notes)

    def _failure(self, outcome: Outcome, error: Exception, numerics: Numerics | None = None) -> Failure:
        detail = " ".join(str(error).split()) or type(error).__name__
        memory = None
        if self._memory is not None:
            self._memory.end_stage()
            memory = self._memory.measured()
        return Failure(outcome=outcome, detail=detail, loaded=self._loaded, memory=memory, numerics=numerics)


def main() -> None:
    """Measures what the job on standard input names, and sends what came of it."""
    channel = Channel(int(sys.argv[1]))
    job = decode(Job, parse(sys.stdin.buffer.read()))
    die_with(job.agent_process_id)
    limit_resources(memory_bytes=job.memory_limit_bytes, processor_s=job.processor_limit_s)
    forbid_processes_and_sockets()
    channel.send(Measuring(job, channel).outcome())


def _disturbance(run: TimedRun) -> tuple[int, float]:
    return len(concerns_about(run.observations)), run.observations.contaminated_fraction


def _figure(run: TimedRun, quantile: float) -> Figure | None:
    found = percentile(run.samples_ns, quantile)
    if found is None:
        return None
    return Figure(
        value=found.value / _NS_PER_MS,
        lower=found.lower / _NS_PER_MS,
        upper=found.upper / _NS_PER_MS,
    )


def _timed_ms(action: Callable[[], T]) -> tuple[T, float]:
    begin = time.perf_counter_ns()
    result = action()
    return result, (time.perf_counter_ns() - begin) / _NS_PER_MS


def _drop_from_page_cache(path: Path) -> None:
    """Makes the load a cold one, as far as one process may: pages that others map stay."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise UnsupportedModelError(f"the artifact cannot be read: {error.strerror}") from error
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    main()

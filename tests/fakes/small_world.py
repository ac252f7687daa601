"""A world in which compression and measuring take no time: what each recipe comes to is written in a table.

``FakeEngine`` compresses and ``FakeMeasuring`` measures in the same world, through the real database and blob store.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import Any, TypeVar, cast

from orchestrator.errors import OperationError
from orchestrator.execution.engine import Engine
from orchestrator.execution.tasks import (
    BuildDraft,
    CompressedVariant,
    CompressVariant,
    Draft,
    RecipeTask,
    Task,
    TrainBaseline,
    TrainedBaseline,
)
from orchestrator.fleet.device import Provenance
from orchestrator.fleet.measurement import (
    Conditions,
    Energy,
    Figure,
    Latency,
    Measurement,
    MeasureRequest,
    Memory,
    Numerics,
    Outcome,
    Quality,
)
from orchestrator.storage.database import Database
from pipelines.recipe import Recipe

ResultT = TypeVar("ResultT")
MEASURED_AT = datetime(2026, 11, 24, 12, 0, tzinfo=timezone.utc)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a recipe comes to."""

    size_bytes: int
    accuracy: float = 0.97
    latency_ms: float = 1.0
    memory_bytes: int = 40_000_000
    energy_mj: float = 2.0
    parameters: int = 1000
    # Recipes with equal structures share measurements; empty: a structure of its own.
    structure: str = ""
    outcome: Outcome = Outcome.OK
    # How the finished artifact fares when it is confirmed.
    confirmed_outcome: Outcome = Outcome.OK
    confirmed_latency_ms: float | None = None


BASELINE = Facts(size_bytes=100_000, accuracy=0.98, latency_ms=4.0, parameters=25_000)


@dataclass
class World:
    """The table, by the recipes' titles, and what was done in it."""

    facts: Mapping[str, Facts]
    # What an artifact's bytes are of: title, and whether it was trained.
    artifacts: dict[str, tuple[str, bool]] = field(default_factory=dict)
    trained: list[str] = field(default_factory=list)
    built: list[str] = field(default_factory=list)
    measured: list[str] = field(default_factory=list)

    def artifact(self, title: str, *, trained: bool) -> bytes:
        data = f"{title}, {'trained' if trained else 'draft'}".encode().ljust(self.facts[title].size_bytes, b".")
        self.artifacts[hashlib.sha256(data).hexdigest()] = (title, trained)
        return data


class FakeEngine(Engine):
    """Compresses by the table.

    Attributes:
        before: Awaited before each task, with the task and the recipe's title; may wait, raise, or note something.
    """

    def __init__(self, world: World, *, slots: int = 2) -> None:
        self._world = world
        self._slots = slots
        self.started = False
        self.busy = 0
        self.most_busy = 0

    @property
    def slots(self) -> int:
        return self._slots

    async def start(self) -> None:
        self.started = True

    async def before(self, task: Task[Any], title: str) -> None:
        """Nothing happens."""

    async def after(self, task: Task[Any], title: str) -> None:
        """Nothing happens."""

    async def run(self, task: Task[ResultT], *, on_progress: Callable[[str], None]) -> ResultT:
        title = Recipe.model_validate_json(task.recipe_json).title if isinstance(task, RecipeTask) else "baseline"
        self.busy += 1
        self.most_busy = max(self.most_busy, self.busy)
        try:
            on_progress("epoch 1 of 1")
            await self.before(task, title)
            await asyncio.sleep(0)
            result = self._result(task, title)
            await self.after(task, title)
            return cast(ResultT, result)
        finally:
            self.busy -= 1

    async def close(self) -> None:
        self.started = False

    def _result(self, task: Task[Any], title: str) -> object:
        if isinstance(task, TrainBaseline):
            self._world.trained.append("the baseline itself")
            return TrainedBaseline(checkpoint=b"checkpoint", accuracy=0.99, train_s=10.0, metric_name="top-1")
        facts = self._world.facts[title]
        trained = isinstance(task, CompressVariant)
        artifact = self._world.artifact(title, trained=trained)
        parts = {
            "artifact": artifact,
            "format": "onnx",
            "sha256": hashlib.sha256(artifact).hexdigest(),
            "size_bytes": len(artifact),
            "structure_sha256": hashlib.sha256((facts.structure or title).encode()).hexdigest(),
            "passes_json": passes_json(title, facts),
        }
        if isinstance(task, BuildDraft):
            self._world.built.append(title)
            return Draft(**parts)
        self._world.trained.append(title)
        return CompressedVariant(
            **parts, accuracy=facts.accuracy, train_s=5.0, golden=f"golden of {title}".encode(), golden_tolerance=1e-3
        )


class FakeMeasuring:
    """Measures by the table. Like the real one it remembers by key what it was asked for, and stores what it finds."""

    def __init__(self, world: World, database: Database) -> None:
        self._world = world
        self._database = database
        self.jobs: dict[str, Measurement] = {}
        self.requests: dict[str, MeasureRequest] = {}
        self.cancelled: list[str] = []

    async def before(self, key: str, title: str) -> None:
        """Nothing happens."""

    async def measure(
        self, *, key: str, device_id: str, request: MeasureRequest, on_progress: Callable[[str], None]
    ) -> Measurement:
        title, trained = self._world.artifacts[request.artifact_sha256]
        on_progress("timing 1 of 200")
        await self.before(key, title)
        await asyncio.sleep(0)
        if key in self.cancelled:
            raise OperationError("the measurement was cancelled", reason="MEASUREMENT_CANCELLED")
        if key not in self.jobs:
            device = await self._database.run(lambda tx: tx.devices.get(device_id))
            found = a_measurement(
                self._world.facts[title],
                result_id=f"result of {key}",
                device_id=device_id,
                device_class=device.device_class,
                request=request,
                confirming=trained,
            )
            await self._database.run(lambda tx: tx.measurements.add_once(found))
            self.jobs[key] = found
            self.requests[key] = request
            self._world.measured.append(title)
        return self.jobs[key]

    async def cancel(self, key: str) -> None:
        if key not in self.jobs:
            self.cancelled.append(key)


def a_measurement(
    facts: Facts,
    *,
    result_id: str,
    device_id: str,
    device_class: str,
    request: MeasureRequest,
    confirming: bool,
) -> Measurement:
    latency_ms = facts.latency_ms if not confirming else (facts.confirmed_latency_ms or facts.latency_ms)
    outcome = facts.confirmed_outcome if confirming else facts.outcome
    measurement = Measurement(
        result_id=result_id,
        device_id=device_id,
        device_class=device_class,
        artifact_sha256=request.artifact_sha256,
        outcome=outcome,
        measured_at=MEASURED_AT,
        conditions=Conditions(runtime="onnxruntime", runtime_version="1.32.0", threads=request.threads),
    )
    if outcome is not Outcome.OK:
        return measurement
    figure = Figure(value=latency_ms, lower=latency_ms * 0.98, upper=latency_ms * 1.02)
    return replace(
        measurement,
        latency=Latency(
            p50_ms=figure,
            p90_ms=figure,
            p95_ms=figure,
            p99_ms=None,
            mean_ms=latency_ms,
            minimum_ms=latency_ms * 0.9,
            sample_count=request.minimum_samples,
            load_ms=10.0,
            first_inference_ms=latency_ms * 2,
            warm_up_count=10,
            steady_state=True,
            quality=Quality.HIGH,
        ),
        energy=Energy(
            gross_mj=facts.energy_mj * 1.5,
            net_mj=facts.energy_mj,
            lower_mj=None,
            upper_mj=None,
            meter="estimate",
            provenance=Provenance.ESTIMATED,
            scope="model",
            remark="no sensor",
        ),
        memory=Memory(peak_bytes=facts.memory_bytes, baseline_bytes=30_000_000, provenance=Provenance.MEASURED),
        numerics=Numerics(checked=bool(request.golden_sha256)),
    )


def passes_json(title: str, facts: Facts) -> str:
    """Reports as the library writes them; none for a recipe without passes."""
    if title == "baseline":
        return "[]"
    whole = {"parameters": 25_000, "macs": 1_000_000, "weight_bytes": 100_000, "accuracy": None}
    left = {**whole, "parameters": facts.parameters, "accuracy": facts.accuracy}
    report = {"name": title.split(maxsplit=1)[0], "title": title, "parameters": {}, "before": whole, "after": left}
    return json.dumps([{**report, "train_s": 5.0, "remarks": []}])

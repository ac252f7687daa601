"""A device with a real updater, real disk and real downloads; only the inference is a fake."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from agent.artifacts import ArtifactStore
from agent.backoff import Backoff
from agent.profiling.measurement import Measurement, Numerics, Outcome
from agent.update.release import DeploymentReport, DeploymentState
from agent.update.updater import Updater
from tests.fakes.proof_in_thread import prove_in_thread
from tests.fakes.release_server import ReleaseServer


@dataclass(frozen=True)
class Runtime:
    name: str = "onnxruntime"
    formats: tuple[str, ...] = ("onnx",)


@dataclass(frozen=True)
class Facts:
    architecture: str = "aarch64"
    runtimes: tuple[Runtime, ...] = (Runtime(),)


@dataclass
class FakeChecker:
    """Says of a model what a test wants, after it has looked at the very bytes."""

    outcomes: dict[bytes, Outcome] = field(default_factory=dict)
    compared: bool = True
    # Called with the model's path, while the model is being tested.
    meanwhile: Callable[[Path], Any] | None = None
    calls: list[dict[str, Any]] = field(default_factory=list)

    async def check(self, **request: Any) -> Measurement:
        self.calls.append(request)
        model = request["artifact_path"].read_bytes()
        assert request["golden_path"].read_bytes() == b"golden " + model[:20]
        if self.meanwhile is not None:
            happening = self.meanwhile(request["artifact_path"])
            if asyncio.iscoroutine(happening):
                await happening
        outcome = self.outcomes.get(model, Outcome.OK)
        return Measurement(
            result_id="r",
            artifact_sha256="",
            outcome=outcome,
            measured_at=datetime.now(timezone.utc),
            detail="" if outcome is Outcome.OK else "as the test wants",
            numerics=Numerics(checked=self.compared) if outcome is Outcome.OK else None,
        )


@dataclass
class UpdatingDevice:
    """One state directory, and the agents that one after another work in it."""

    state_dir: Path
    server: ReleaseServer
    checker: FakeChecker = field(default_factory=FakeChecker)
    facts: Facts = field(default_factory=Facts)
    reports: list[DeploymentReport] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.state_dir.mkdir(parents=True, exist_ok=True)
        self.server.trust(self.state_dir)

    def updater(self, **overrides: Any) -> Updater:
        return Updater(
            **{
                "state_dir": self.state_dir,
                "delivery": self.server,
                "artifacts": ArtifactStore(self.state_dir / "stage", self.server, quota_bytes=1 << 30, reserve_bytes=0),
                "profiler": self.checker,
                "report": self.reports.append,
                "facts": self.facts,
                "clock": self.server.clock,
                "backoff": Backoff(initial_s=0.001, maximum_s=0.01),
                "prove": prove_in_thread,
            }
            | overrides
        )

    @contextlib.asynccontextmanager
    async def agent(self, **overrides: Any) -> AsyncIterator[Updater]:
        """A running agent."""
        updater = self.updater(**overrides)
        try:
            await updater.resume()
            yield updater
        finally:
            await updater.close()

    def run(self, *wishes: Any, **overrides: Any) -> None:
        """An agent that starts, takes the wishes one after another, and ends when nothing is left to do."""

        async def live() -> None:
            async with self.agent(**overrides) as updater:
                await asyncio.wait_for(updater.settled(), 30)
                for desired in wishes:
                    await updater.desire(desired)
                    await asyncio.wait_for(updater.settled(), 30)

        asyncio.run(live())

    def states(self, deployment: Any) -> list[DeploymentState]:
        """What was reported of a deployment, each state once."""
        return list(dict.fromkeys(r.state for r in self.reports if r.deployment_id == deployment.deployment_id))

    def last(self, deployment: Any) -> DeploymentReport:
        return [report for report in self.reports if report.deployment_id == deployment.deployment_id][-1]

    def served(self) -> bytes | None:
        """The bytes that a consumer would load."""
        model = self.state_dir / "current" / "model.onnx"
        return model.read_bytes() if model.exists() else None

    def slots(self) -> set[str]:
        directory = self.state_dir / "slots"
        return {slot.name for slot in directory.iterdir()} if directory.exists() else set()

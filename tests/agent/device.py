"""A whole agent in this process, with a profiler that does what the test says."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timezone
from pathlib import Path

from agent.agent import Agent
from agent.backoff import Backoff
from agent.config import Settings
from agent.enrolment import join, parse_invitation
from agent.facts import DeviceFacts
from agent.profiling.measurement import Measurement, MeasureRequest, Outcome
from agent.session import Timing
from agent.state_directory import StateDirectory
from tests.fakes.fake_orchestrator import FakeOrchestrator

FACTS = DeviceFacts(hostname="pi", architecture="x86_64")
QUICK = Timing(welcome_s=10, refused_s=0.2, healthy_s=60, receipt_s=60, progress_s=0.01)


class FakeProfiler:
    """Measures as fast as the test wants."""

    def __init__(self) -> None:
        # Cleared by a test that wants a measurement to last.
        self.go = asyncio.Event()
        self.go.set()
        self.error: Exception | None = None
        self.outcome = Outcome.OK
        # What was measured, and what was there: request, artifact, golden arrays.
        self.measured: list[tuple[MeasureRequest, bytes, bytes | None]] = []
        self.running = 0
        self.most_running = 0
        self.killed = 0

    async def measure(
        self,
        request: MeasureRequest,
        *,
        artifact_path: Path,
        golden_path: Path | None,
        on_progress: Callable[[str], None],
    ) -> Measurement:
        self.running += 1
        self.most_running = max(self.running, self.most_running)
        self.measured.append(
            (request, artifact_path.read_bytes(), None if golden_path is None else golden_path.read_bytes())
        )
        try:
            on_progress("warming up")
            await self.go.wait()
            if self.error is not None:
                raise self.error
            return a_measurement(request.artifact_sha256, outcome=self.outcome)
        except asyncio.CancelledError:
            self.killed += 1
            raise
        finally:
            self.running -= 1

    async def check(
        self,
        *,
        artifact_path: Path,
        artifact_format: str,
        golden_path: Path,
        tolerance: float,
        runtime: str,
        on_progress: Callable[[str], None],
    ) -> Measurement:
        return a_measurement("0" * 64)


def a_measurement(sha256: str, *, outcome: Outcome = Outcome.OK) -> Measurement:
    return Measurement(
        result_id=uuid.uuid4().hex,
        artifact_sha256=sha256,
        outcome=outcome,
        measured_at=datetime.now(tz=timezone.utc),
    )


async def join_fleet(orchestrator: FakeOrchestrator, folder: Path) -> None:
    """Makes the folder the state of a device that has joined."""
    state = StateDirectory(folder)
    orchestrator.tokens.add("good-token")
    with state.hold():
        invitation = parse_invitation(
            address=orchestrator.address, token="good-token", ca_hash=orchestrator.authority.ca_hash
        )
        await join(invitation, state=state, facts=FACTS)


@contextlib.asynccontextmanager
async def running_agent(
    folder: Path, profiler: FakeProfiler, *, timing: Timing = QUICK, cache_quota_bytes: int = 1 << 20
) -> AsyncIterator[Agent]:
    """An agent that runs inside the block; at its end it is stopped, as by a signal."""
    state = StateDirectory(folder)
    with state.hold():
        agent = Agent(
            state=state,
            settings=Settings(state_dir=folder, cache_quota_bytes=cache_quota_bytes),
            profiler=profiler,
            facts=FACTS,
            make_backoff=lambda: Backoff(initial_s=0.02, maximum_s=0.1),
            timing=timing,
        )
        task = asyncio.create_task(agent.run())
        try:
            yield agent
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

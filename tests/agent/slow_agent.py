"""An agent in a process of its own whose measurements take as long as a file is absent: to be killed by tests."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable
from pathlib import Path

from agent.agent import Agent
from agent.backoff import Backoff
from agent.config import Settings
from agent.profiling.measurement import Measurement, MeasureRequest
from agent.signals import stop_signals
from agent.state_directory import StateDirectory
from tests.agent.device import FACTS, a_measurement


class WaitingProfiler:
    """Ends a measurement when the file ``go`` is there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def measure(
        self,
        request: MeasureRequest,
        *,
        artifact_path: Path,
        golden_path: Path | None,
        on_progress: Callable[[str], None],
    ) -> Measurement:
        on_progress("measuring")
        while not (self._folder / "go").exists():
            await asyncio.sleep(0.01)
        return a_measurement(request.artifact_sha256)

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


async def serve(folder: Path) -> None:
    state = StateDirectory(folder)
    with stop_signals(), state.hold():
        await Agent(
            state=state,
            settings=Settings(state_dir=folder),
            profiler=WaitingProfiler(folder.parent),
            facts=FACTS,
            make_backoff=lambda: Backoff(initial_s=0.02, maximum_s=0.1),
        ).run()


if __name__ == "__main__":
    with contextlib.suppress(asyncio.CancelledError):
        asyncio.run(serve(Path(sys.argv[1])))

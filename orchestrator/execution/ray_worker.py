"""What Ray runs: the function of a worker process, and the board on which workers post their progress."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from orchestrator.execution.exclusion import SharedHost, host_lock_directory
from orchestrator.execution.tasks import RecipeTask, Task


class ProgressBoard:
    """The newest line of each run, handed on in bundles. Ray runs it as an actor, next to the orchestrator."""

    def __init__(self) -> None:
        self._lines: dict[str, str] = {}
        self._news = asyncio.Event()

    async def post(self, run_id: str, line: str) -> None:
        """Replaces the line of a run."""
        self._lines[run_id] = line
        self._news.set()

    async def collect(self) -> dict[str, str]:
        """The lines that are new since the last call; waits for the first."""
        await self._news.wait()
        self._news.clear()
        lines, self._lines = self._lines, {}
        return lines


def perform_in_worker(run_id: str, task: Task[Any], baseline: bytes | None, board: Any) -> object:
    """The task's result, made while this host is shared with others that load it.

    Args:
        run_id: Names the run on the board.
        task: What to do.
        baseline: The checkpoint that the task lacks, where it has one: many tasks share it, so Ray keeps it once.
        board: Where progress is posted; nobody waits for it.
    """
    # The orchestrator imports this module too, and has no use for PyTorch.
    from orchestrator.execution.work import perform  # noqa: PLC0415

    def report(line: str) -> None:
        board.post.remote(run_id, line)

    if isinstance(task, RecipeTask) and baseline is not None:
        task = replace(task, baseline=baseline)
    with SharedHost(host_lock_directory(), on_wait=report) as host:
        return perform(task, report=report, turns=host)

"""An engine that takes every task and finishes none."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from orchestrator.execution.engine import Engine
from orchestrator.execution.tasks import Task

ResultT = TypeVar("ResultT")


class IdleEngine(Engine):
    def __init__(self) -> None:
        self.taken: list[Task[object]] = []
        self.closed = False

    @property
    def slots(self) -> int:
        return 1

    async def start(self) -> None:
        """Nothing to make ready."""

    async def run(self, task: Task[ResultT], *, on_progress: Callable[[str], None]) -> ResultT:
        self.taken.append(task)
        await asyncio.Event().wait()
        raise AssertionError("nobody wakes it")

    async def close(self) -> None:
        self.closed = True

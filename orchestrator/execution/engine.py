"""The engine: where work runs that is too heavy for the orchestrator's own loop."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TypeVar

from orchestrator.execution.tasks import Task

ResultT = TypeVar("ResultT")


class Engine(ABC):
    """Runs tasks in processes of their own, as many at once as there are slots.

    Whoever awaits ``run`` owns the task: cancelling the awaiting asyncio task stops the work and frees its worker at
    once, without a word from the work itself.
    """

    @property
    @abstractmethod
    def slots(self) -> int:
        """How many tasks run at the same time; more may be asked for, and wait."""

    @abstractmethod
    async def start(self) -> None:
        """Makes the engine ready. May be repeated; ``run`` does it by itself."""

    @abstractmethod
    async def run(self, task: Task[ResultT], *, on_progress: Callable[[str], None]) -> ResultT:
        """The result of ``task``.

        Args:
            task: What to do; it and its result travel between machines by value.
            on_progress: Called in this loop with one line for people, whenever the work has news.

        Raises:
            WorkloadFailedError: The user's code raised; the message names file and line.
            WorkerLostError: The worker process died, and so did those that tried again.
            OperationError: The work failed otherwise.
        """

    @abstractmethod
    async def close(self) -> None:
        """Stops everything that runs, and leaves no process behind. May be repeated."""

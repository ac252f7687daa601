"""One search under way: a loop that reads what is, begins what is wanted next, and waits for news.

It keeps nothing that it could not read again: killed at any moment and started anew, it goes on from what is written.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

from orchestrator.clock import Clock
from orchestrator.errors import FleetfitError, OperationError, UnavailableError, WorkloadFailedError
from orchestrator.search.journal import Journal, Snapshot
from orchestrator.search.outlook import outlook
from orchestrator.search.planning import plan
from orchestrator.search.progress import ProgressWriter
from orchestrator.search.samplers.registry import make_sampler
from orchestrator.search.samplers.sampler import Sampler
from orchestrator.search.search import Search, SearchState
from orchestrator.search.stages import Broken
from orchestrator.search.trial import Trial
from orchestrator.search.trial_work import TrialWork

_LOG = logging.getLogger(__name__)

_RETRY_S = 5.0


class SearchRunner:
    """Brings one search to its end.

    Args:
        search_id: Of the search, which is running.
        journal: Where facts are written.
        work: Does the pieces of work.
        progress: Writes what goes on inside them.
        slots: How many workers there are, asked anew each time.
        clock: The present.
    """

    def __init__(
        self,
        search_id: str,
        *,
        journal: Journal,
        work: TrialWork,
        progress: ProgressWriter,
        slots: Callable[[], int],
        clock: Clock,
    ) -> None:
        self._search_id = search_id
        self._journal = journal
        self._work = work
        self._progress = progress
        self._slots = slots
        self._clock = clock
        self._running: dict[str, asyncio.Task[tuple[Trial, ...]]] = {}
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Has the loop look again at once."""
        self._woken.set()

    async def run(self) -> None:
        """Returns when the search has ended. Cancelled, it leaves what was asked of devices to be found again."""
        writing = asyncio.create_task(self._progress.run())
        try:
            await self._run_to_the_end()
            await self._abandon(await self._journal.snapshot(self._search_id), list(self._running))
        finally:
            writing.cancel()
            await _cancelled([writing, *self._running.values()])

    async def _run_to_the_end(self) -> None:
        try:
            sampler: Sampler | None = None
            while True:
                try:
                    sampler = sampler or await self._make_sampler()
                    if not await self._go_on(sampler):
                        return
                except UnavailableError as error:
                    # A database or a cluster that is out of reach comes back; until then nothing is lost.
                    _LOG.warning("search %s waits: %s", self._search_id, error.message)
                    await self._pause()
        except FleetfitError as error:
            await self._journal.end(self._search_id, SearchState.FAILED, error.message)
        except Exception as error:
            # A search that stands still without a word is worse than one that ends: the log has the rest.
            _LOG.exception("search %s ended by an error of fleetfit itself", self._search_id)
            reason = f"an error of fleetfit itself, {type(error).__name__}: {error}"
            await self._journal.end(self._search_id, SearchState.FAILED, reason)

    async def _make_sampler(self) -> Sampler:
        return make_sampler((await self._journal.snapshot(self._search_id)).search.spec.sampler)

    async def _go_on(self, sampler: Sampler) -> bool:
        """One turn of the loop; whether there is another one."""
        snapshot = await self._journal.snapshot(self._search_id)
        search = snapshot.search
        if search.state.final:
            return False
        if len(snapshot.devices) < len(search.device_ids):
            raise OperationError("a device that measures was removed from the fleet", reason="DEVICE_REMOVED")
        await self._warn(snapshot)
        remaining_s = self._remaining_s(search)
        if remaining_s is not None and remaining_s <= 0:
            await self._journal.conclude(
                self._search_id, cut_short=f"the time limit of {search.spec.time_limit} ran out"
            )
            return False
        self._begin(snapshot, sampler)
        if not self._running:
            await self._journal.conclude(self._search_id)
            return False
        await self._settle(snapshot, remaining_s)
        return True

    def _begin(self, snapshot: Snapshot, sampler: Sampler) -> None:
        """Begins what is wanted next, as far as there are workers for it."""
        search = snapshot.search
        if not search.baseline_sha256:
            if not self._running:
                self._running[snapshot.baseline.id] = asyncio.create_task(self._work.train_baseline(snapshot))
            return
        slots = min(self._slots(), search.spec.parallel or self._slots())
        for move in plan(search, snapshot.trials, sampler=sampler, running=self._running.keys(), slots=slots):
            work = self._work.do(move.effort, snapshot.trial(move.trial_id), snapshot)
            self._running[move.trial_id] = asyncio.create_task(work)

    async def _settle(self, snapshot: Snapshot, remaining_s: float | None) -> None:
        """Waits until a piece of work is done, time is up or somebody calls, and sees to what came of it."""
        calling = asyncio.create_task(self._woken.wait())
        try:
            await asyncio.wait(
                [calling, *self._running.values()], timeout=remaining_s, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            calling.cancel()
            self._woken.clear()
        for trial_id in [trial_id for trial_id, task in self._running.items() if task.done()]:
            # What came of one may have put an end to another.
            task = self._running.pop(trial_id, None)
            if task is not None:
                await self._take(snapshot.trial(trial_id), task, snapshot)

    async def _take(self, trial: Trial, task: asyncio.Task[tuple[Trial, ...]], snapshot: Snapshot) -> None:
        """Sees to the result of a piece of work, or to its failure."""
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            outdone = [changed.id for changed in task.result() if changed.state.final and changed.id != trial.id]
            await self._abandon(snapshot, outdone)
        elif trial.number != 0 and isinstance(error, OperationError) and not _ends_the_search(error):
            await self._journal.record(self._search_id, trial.id, Broken(reason=error.message))
        else:
            raise error

    async def _abandon(self, snapshot: Snapshot, trial_ids: list[str]) -> None:
        """Stops work that nobody wants any more, on workers and on devices."""
        running = {trial_id: self._running.pop(trial_id) for trial_id in trial_ids if trial_id in self._running}
        await _cancelled(list(running.values()))
        for trial_id in running:
            await self._work.abandon(snapshot.trial(trial_id), snapshot.search.device_ids)

    async def _warn(self, snapshot: Snapshot) -> None:
        warning = outlook(snapshot.trials)
        if snapshot.search.reason != warning:
            await self._journal.note_warning(self._search_id, warning)

    async def _pause(self) -> None:
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._woken.wait(), _RETRY_S)
        self._woken.clear()

    def _remaining_s(self, search: Search) -> float | None:
        if search.spec.time_limit_s is None:
            return None
        deadline = search.created_at + timedelta(seconds=search.spec.time_limit_s)
        return (deadline - self._clock()).total_seconds()


def _ends_the_search(error: OperationError) -> bool:
    """Whether one trial ran into what every other one would run into too."""
    return isinstance(error, WorkloadFailedError) or error.reason in ("DEVICE_REMOVED", "DISK_FULL")


async def _cancelled(tasks: list[asyncio.Task[None] | asyncio.Task[tuple[Trial, ...]]]) -> None:
    """Returns when each task has ended, cancelled or otherwise."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

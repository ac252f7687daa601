"""The searches of this orchestrator: begins them, takes them up again after a restart, and stops them."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence

from orchestrator.clock import Clock
from orchestrator.errors import InvalidInputError
from orchestrator.events import Events
from orchestrator.execution.engine import Engine
from orchestrator.search.journal import Journal
from orchestrator.search.progress import ProgressWriter
from orchestrator.search.runner import SearchRunner
from orchestrator.search.samplers.registry import make_sampler
from orchestrator.search.search import Search, SearchState
from orchestrator.search.space import recipes_of
from orchestrator.search.spec import SearchSpec
from orchestrator.search.trial import Trial, TrialState
from orchestrator.search.trial_work import Measuring, TrialWork
from orchestrator.storage.blob_store import BlobStore
from orchestrator.storage.database import Database
from pipelines.recipe import Recipe


class SearchController:
    """Runs every search that has not ended, each in a loop of its own.

    Args:
        database: Where searches, trials and measurements are.
        blobs: Where workloads, checkpoints, artifacts and golden files are.
        events: Woken is ``search/<id>`` whenever a search or one of its trials has changed.
        engine: Compresses; belongs to whoever made it.
        measuring: Has devices measure.
        clock: The present.
    """

    def __init__(
        self,
        *,
        database: Database,
        blobs: BlobStore,
        events: Events,
        engine: Engine,
        measuring: Measuring,
        clock: Clock,
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._events = events
        self._engine = engine
        self._measuring = measuring
        self._clock = clock
        self._journal = Journal(database=database, events=events, clock=clock)
        self._runners: dict[str, SearchRunner] = {}
        self._loops: dict[str, asyncio.Task[None]] = {}

    async def start(self) -> None:
        """Takes up every search that was running when the orchestrator ended."""
        for search in await self._journal.running():
            self._run(search.id)

    async def create(
        self,
        *,
        spec: SearchSpec,
        device_ids: Sequence[str],
        workload_filename: str,
        workload_source: bytes,
        idempotency_key: str,
    ) -> Search:
        """Begins a search; asked again with the same key, it returns the same one.

        Raises:
            InvalidInputError: The sampler or a recipe is unknown or wrong, or the workload is no Python.
            NotFoundError: A device does not exist.
            OperationError: The workload could not be stored.
        """
        earlier = await self._journal.find(idempotency_key)
        if earlier is not None:
            return earlier
        make_sampler(spec.sampler)
        recipes = recipes_of(spec)
        _check_syntax(workload_source, workload_filename)
        await self._check_devices(device_ids)
        trial_ids = [str(uuid.uuid4()) for _ in recipes]
        search = Search(
            id=str(uuid.uuid4()),
            name=spec.name,
            state=SearchState.RUNNING,
            spec=spec,
            workload_filename=workload_filename,
            workload_sha256=await asyncio.to_thread(self._blobs.put, workload_source),
            device_ids=tuple(device_ids),
            created_at=self._clock(),
            idempotency_key=idempotency_key,
            baseline_trial_id=trial_ids[0],
        )
        trials = tuple(
            _queued(search, trial_id, number, recipe)
            for number, (trial_id, recipe) in enumerate(zip(trial_ids, recipes, strict=True))
        )
        search = await self._journal.open(search, trials)
        self._run(search.id)
        return search

    async def cancel(self, search_id: str) -> Search:
        """Ends a search; what was found so far stays. One that has ended is returned as it is.

        Raises:
            NotFoundError: There is no such search.
        """
        search = await self._journal.end(search_id, SearchState.CANCELLED, "cancelled")
        loop = self._loops.get(search_id)
        if loop is not None:
            self._runners[search_id].wake()
            await asyncio.gather(loop, return_exceptions=True)
        return search

    async def close(self) -> None:
        """Stops the loops. Their searches stay as they are, and go on with the next start."""
        loops = list(self._loops.values())
        for loop in loops:
            loop.cancel()
        await asyncio.gather(*loops, return_exceptions=True)

    def _run(self, search_id: str) -> None:
        if search_id in self._loops:
            return
        progress = ProgressWriter(search_id, database=self._database, events=self._events)
        work = TrialWork(
            database=self._database,
            blobs=self._blobs,
            engine=self._engine,
            measuring=self._measuring,
            journal=self._journal,
            progress=progress,
        )
        runner = SearchRunner(
            search_id,
            journal=self._journal,
            work=work,
            progress=progress,
            slots=lambda: self._engine.slots,
            clock=self._clock,
        )
        self._runners[search_id] = runner
        self._loops[search_id] = asyncio.create_task(runner.run(), name=f"search {search_id}")
        self._loops[search_id].add_done_callback(lambda _: self._forget(search_id))

    def _forget(self, search_id: str) -> None:
        del self._loops[search_id]
        del self._runners[search_id]

    async def _check_devices(self, device_ids: Sequence[str]) -> None:
        if not device_ids:
            raise InvalidInputError("devices: none is named", hint="name at least one that measures")
        await self._database.run(lambda tx: [tx.devices.get(device_id) for device_id in device_ids])


def _queued(search: Search, trial_id: str, number: int, recipe: Recipe) -> Trial:
    return Trial(
        id=trial_id,
        search_id=search.id,
        number=number,
        title=recipe.title,
        recipe_json=recipe.canonical_json(),
        state=TrialState.QUEUED,
        created_at=search.created_at,
        format=recipe.export.format,
    )


def _check_syntax(source: bytes, filename: str) -> None:
    """The workload is only compiled here: its code runs on workers.

    Raises:
        InvalidInputError: It is no Python; names file and line.
    """
    try:
        compile(source, filename, "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        place = f"{filename}:{line}" if line else filename
        message = error.msg if isinstance(error, SyntaxError) else str(error)
        raise InvalidInputError(f"{place}: {message}", hint="a workload is one Python file") from error

"""The orchestrator may be killed at any moment: it goes on from what is written, and does nothing twice.

A controller is played up to its n-th step outside itself, for every n. There it stops for good, as if the process had
been killed, and another one goes on with the same database.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar

import pytest

from orchestrator.execution.tasks import CompressVariant, Task
from orchestrator.search.search import SearchState
from orchestrator.storage.transaction import Transaction
from tests.fakes.small_world import Facts, World
from tests.orchestrator.search.scenes import Scene, world

T = TypeVar("T")


class Life:
    """Counts steps, and ends at the one that it is given."""

    def __init__(self, steps: int | None) -> None:
        self._left = steps
        self.over = asyncio.Event()

    async def step(self) -> None:
        if self._left is not None:
            self._left -= 1
            if self._left < 0:
                self.over.set()
        if self.over.is_set():
            await asyncio.Event().wait()


def a_small_world() -> World:
    return world(prune_60=Facts(size_bytes=40_000, accuracy=0.971, parameters=10_000))


def a_world() -> World:
    return world(
        prune_20=Facts(size_bytes=80_000, accuracy=0.975, parameters=20_000),
        prune_60=Facts(size_bytes=40_000, accuracy=0.971, parameters=10_000),
        prune_90=Facts(size_bytes=9_000, accuracy=0.50, parameters=2_500),
    )


def live(scene: Scene, life: Life) -> None:
    """Makes each way out of the controller a step of its life. Before one thing is after the one before it."""
    run_in_database = scene.database.run

    async def run(work: Callable[[Transaction], T]) -> T:
        await life.step()
        return await run_in_database(work)

    async def engine_step(task: Task[Any], title: str) -> None:
        await life.step()

    async def measuring_step(key: str, title: str) -> None:
        await life.step()

    scene.database.run = run
    scene.engine.before = scene.engine.after = engine_step
    scene.measuring.before = measuring_step


@pytest.mark.parametrize(
    ("make_world", "stride"), [(a_small_world, 1), (a_world, 7)], ids=["every step", "every seventh step of more"]
)
def test_killed_at_any_step_the_search_ends_alike_and_repeats_nothing_that_was_finished(
    make_scene: Callable[..., Scene], make_world: Callable[[], World], stride: int
) -> None:
    async def play(steps: int) -> bool:
        """Whether the first life ended before the search did."""
        table = make_world()
        async with make_scene(table) as scene:
            search = await scene.create(budgets={"latency_p95": "20ms", "accuracy_drop": "1%"})
            await scene.controller.close()
            untouched = scene.database.run
            life = Life(steps)
            live(scene, life)
            scene.controller = scene.new_controller()
            starting = asyncio.create_task(scene.controller.start())
            finishing = asyncio.create_task(finished(scene, search.id, untouched))
            await asyncio.wait([asyncio.create_task(life.over.wait()), finishing], return_when=asyncio.FIRST_COMPLETED)
            killed = life.over.is_set()
            for task in (starting, finishing):
                task.cancel()
            await scene.controller.close()

            scene.database.run = untouched
            live(scene, Life(None))
            before = await scene.trials(search)
            baseline_written = (await scene.search(search)).baseline_sha256
            table.trained.clear()
            table.built.clear()
            scene.controller = scene.new_controller()
            await scene.controller.start()
            ended = await scene.finished(search)
            trials = await scene.trials(search)

            for title, trial in before.items():
                assert trial.accuracy is None or title not in table.trained, f"{title} is trained twice"
                assert not trial.draft_sha256 or title not in table.built, f"{title} is built twice"
            assert not baseline_written or "the baseline itself" not in table.trained
            assert Counter(table.measured).most_common(1)[0][1] <= 2, "each is measured once as a draft and once after"
            assert ended.state is SearchState.SUCCEEDED
            assert ended.best_trial_id == trials["structured_prune 0.6"].id
            return killed

    steps = 0
    while asyncio.run(play(steps)):
        steps += stride
    assert steps > 30, "the search takes many steps"


async def finished(scene: Scene, search_id: str, run: Callable[..., Any]) -> None:
    while not (await run(lambda tx: tx.searches.get(search_id))).state.final:
        await asyncio.sleep(0.02)


def test_an_interrupted_training_is_begun_again(make_scene: Callable[..., Scene]) -> None:
    async def play() -> None:
        table = a_world()
        async with make_scene(table) as scene:
            hanging = asyncio.Event()

            async def before(task: Task[Any], title: str) -> None:
                if isinstance(task, CompressVariant) and title == "structured_prune 0.6":
                    hanging.set()
                    await asyncio.Event().wait()

            async def nothing(task: Task[Any], title: str) -> None:
                pass

            scene.engine.before = before
            search = await scene.create(budgets={"latency_p95": "20ms", "accuracy_drop": "1%"})
            await asyncio.wait_for(hanging.wait(), 30)
            assert scene.measuring.cancelled == []
            scene.engine.before = nothing
            await scene.restart()
            ended = await scene.finished(search)
            assert ended.best_trial_id == (await scene.trials(search))["structured_prune 0.6"].id
            assert table.trained.count("structured_prune 0.6") == 1
            assert scene.measuring.cancelled == [], "a controller that ends takes nothing back from devices"

    asyncio.run(play())

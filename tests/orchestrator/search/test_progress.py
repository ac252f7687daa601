import asyncio
from collections.abc import Callable
from typing import Any

from orchestrator.execution.tasks import Task, TrainBaseline
from orchestrator.search.progress import INTERVAL_S, ProgressWriter
from orchestrator.search.trial import TrialState
from tests.fakes.small_world import Facts
from tests.orchestrator.search.scenes import Scene, world


def test_many_lines_become_few_writes_and_the_last_one_stays(make_scene: Callable[..., Scene]) -> None:
    async def play() -> None:
        async with make_scene(world(prune_50=Facts(size_bytes=50_000))) as scene:
            hanging = asyncio.Event()

            async def before(task: Task[Any], title: str) -> None:
                if isinstance(task, TrainBaseline):
                    hanging.set()
                    await asyncio.Event().wait()

            scene.engine.before = before
            search = await scene.create(budgets={"latency_p95": "20ms"})
            await asyncio.wait_for(hanging.wait(), 30)
            trial = (await scene.trials(search))["baseline"]
            writer = ProgressWriter(search.id, database=scene.database, events=scene.events)
            writes = 0
            run = scene.database.run

            async def counted(work: Callable[[Any], Any]) -> Any:
                nonlocal writes
                writes += 1
                return await run(work)

            scene.database.run = counted
            writing = asyncio.create_task(writer.run())
            tell = writer.tell(trial.id, TrialState.BUILDING)
            started = asyncio.get_running_loop().time()
            for number in range(200):
                tell(f"epoch {number}")
                await asyncio.sleep(0.002)
            took_s = asyncio.get_running_loop().time() - started
            assert 1 <= writes <= 2 + took_s / INTERVAL_S
            while (await run(lambda tx: tx.trials.get(trial.id))).progress != "epoch 199":
                await asyncio.sleep(0.01)

            writer.tell(trial.id, TrialState.TRAINING)("a line of another stage")
            writer.tell("nobody", TrialState.TRAINING)("a line of nobody")
            tell("epoch 200")
            while (await run(lambda tx: tx.trials.get(trial.id))).progress != "epoch 200":
                await asyncio.sleep(0.01)
            writing.cancel()

    asyncio.run(asyncio.wait_for(play(), 60))

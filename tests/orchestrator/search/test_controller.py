import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from orchestrator.errors import (
    InvalidInputError,
    NotFoundError,
    OperationError,
    UnavailableError,
    WorkerLostError,
    WorkloadFailedError,
)
from orchestrator.execution.tasks import BuildDraft, CompressVariant, Task, TrainBaseline
from orchestrator.fleet.measurement import Outcome
from orchestrator.search.search import SearchState
from orchestrator.search.spec import parse_search_spec
from orchestrator.search.trial import TrialState
from tests.fakes.small_world import Facts
from tests.orchestrator.search.scenes import WORKLOAD, Scene, a_device, world

MakeScene = Callable[..., Scene]


def test_the_winner_is_the_smallest_that_holds_every_budget(make_scene: MakeScene) -> None:
    async def play() -> None:
        table = world(
            prune_20=Facts(size_bytes=80_000, accuracy=0.975, parameters=20_000),
            prune_40=Facts(size_bytes=60_000, accuracy=0.972, parameters=15_000),
            prune_60=Facts(size_bytes=40_000, accuracy=0.971, parameters=10_000, latency_ms=30),
            prune_80=Facts(size_bytes=20_000, accuracy=0.80, parameters=5_000),
        )
        async with make_scene(table) as scene:
            search = await scene.run(budgets={"latency_p95": "20ms", "accuracy_drop": "1%"})
            trials = await scene.trials(search)

        assert search.state is SearchState.SUCCEEDED
        assert search.best_trial_id == trials["structured_prune 0.4"].id
        assert search.baseline_trial_id == trials["baseline"].id
        assert search.metric_name == "top-1"
        assert "40% smaller than the baseline" in search.reason
        assert trials["baseline"].state is TrialState.FEASIBLE
        assert trials["baseline"].train_s == 15.0
        assert trials["structured_prune 0.6"].state is TrialState.INFEASIBLE
        assert trials["structured_prune 0.6"].accuracy is None, "what no device can run in time is never trained"
        assert "latency p95 on pi is 30.6ms" in trials["structured_prune 0.6"].reason
        assert "accuracy is 0.8000, 0.1700 below its floor of 0.9700" in trials["structured_prune 0.8"].reason
        assert all(trial.finished_at is not None and trial.progress == "" for trial in trials.values())

    asyncio.run(play())


def test_what_is_not_smaller_than_the_best_is_never_trained(make_scene: MakeScene) -> None:
    async def play() -> None:
        table = world(
            prune_30=Facts(size_bytes=70_000, parameters=17_000),
            prune_50=Facts(size_bytes=50_000, parameters=12_000),
            prune_90=Facts(size_bytes=10_000, parameters=2_500),
        )
        async with make_scene(table, slots=1) as scene:
            search = await scene.run(budgets={"latency_p95": "20ms"})
            trials = await scene.trials(search)
        assert search.best_trial_id == trials["structured_prune 0.9"].id
        for title in ("structured_prune 0.3", "structured_prune 0.5"):
            assert trials[title].state is TrialState.DOMINATED
            assert trials[title].accuracy is None
        assert table.trained == ["the baseline itself", "baseline", "structured_prune 0.9"]

    asyncio.run(play())


def test_a_budget_that_nothing_meets_is_named_with_the_amount_and_costs_no_training(make_scene: MakeScene) -> None:
    async def play() -> None:
        table = world(
            prune_20=Facts(size_bytes=80_000, latency_ms=30.0), prune_60=Facts(size_bytes=40_000, latency_ms=24.0)
        )
        async with make_scene(table) as scene:
            search = await scene.run(budgets={"latency_p95": "3ms"})
            trials = await scene.trials(search)
        assert search.state is SearchState.INFEASIBLE
        assert search.best_trial_id == ""
        assert search.closest_trial_id == trials["baseline"].id
        assert "latency p95 on pi is 4.08ms, 36% over its budget of 3.00ms" in search.reason
        assert table.trained == ["the baseline itself", "baseline"]

    asyncio.run(play())


def test_what_is_too_large_is_not_even_measured(make_scene: MakeScene) -> None:
    async def play() -> None:
        table = world(prune_20=Facts(size_bytes=80_000), prune_60=Facts(size_bytes=40_000))
        async with make_scene(table) as scene:
            search = await scene.run(budgets={"size": "50kB"})
            trials = await scene.trials(search)
        assert search.best_trial_id == trials["structured_prune 0.6"].id
        assert trials["structured_prune 0.2"].reason == "size is 80.0kB, 60% over its budget of 50.0kB"
        assert trials["baseline"].state is TrialState.INFEASIBLE
        assert trials["baseline"].accuracy == 0.98, "the baseline is looked at all the same"
        assert "structured_prune 0.2" not in table.measured

    asyncio.run(play())


def test_a_crash_on_the_device_is_infeasible_and_never_best(make_scene: MakeScene) -> None:
    async def play() -> None:
        table = world(
            prune_50=Facts(size_bytes=50_000), prune_90=Facts(size_bytes=10_000, outcome=Outcome.OUT_OF_MEMORY)
        )
        async with make_scene(table) as scene:
            search = await scene.run(budgets={"accuracy": "90%"})
            trials = await scene.trials(search)
        assert search.best_trial_id == trials["structured_prune 0.5"].id
        assert trials["structured_prune 0.9"].state is TrialState.INFEASIBLE
        assert trials["structured_prune 0.9"].reason == "pi could not measure it, it ran out of memory"

    asyncio.run(play())


def test_a_finished_artifact_that_computes_something_else_is_infeasible(make_scene: MakeScene) -> None:
    async def play() -> None:
        table = world(prune_50=Facts(size_bytes=50_000, confirmed_outcome=Outcome.NUMERICS_FAILED))
        async with make_scene(table) as scene:
            search = await scene.run(budgets={"latency_p95": "20ms"})
            trials = await scene.trials(search)
        assert search.best_trial_id == trials["baseline"].id
        assert "its outputs are not those of the reference" in trials["structured_prune 0.5"].reason

    asyncio.run(play())


def test_a_finished_artifact_is_measured_anew_and_its_outputs_are_compared(make_scene: MakeScene) -> None:
    async def play() -> None:
        table = world(prune_50=Facts(size_bytes=50_000, confirmed_latency_ms=25.0))
        async with make_scene(table) as scene:
            search = await scene.run(budgets={"latency_p95": "20ms"})
            trial = (await scene.trials(search))["structured_prune 0.5"]
            request = scene.measuring.requests[f"{trial.id}:confirming:id-of-pi"]
        assert "latency p95 on pi is 25.5ms" in trial.reason
        assert request.artifact_sha256 == trial.artifact_sha256
        assert request.golden_sha256 == trial.golden_sha256
        assert request.golden_tolerance == 1e-3
        assert request.golden_size_bytes == len(b"golden of structured_prune 0.5")

    asyncio.run(play())


def test_a_structure_is_measured_once_for_all_searches_and_devices_of_a_class(make_scene: MakeScene) -> None:
    async def play() -> None:
        table = world(
            prune_50=Facts(size_bytes=50_000, structure="same", accuracy=0.5),
            prune_51=Facts(size_bytes=49_000, structure="same", accuracy=0.5),
        )
        devices = [a_device("pi"), a_device("pi-2"), a_device("jetson", board="Jetson")]
        async with make_scene(table, devices=devices) as scene:
            # Every candidate to its end: our own sampler may give the second up when the first was far off.
            search = await scene.run(budgets={"latency_p95": "20ms", "accuracy": "90%"}, sampler="exhaustive")
            trials = await scene.trials(search)
            drafts = [title for title in table.measured if title.startswith("structured_prune")]
            assert len(drafts) == 2, "one on each class"
            for trial in (trials["structured_prune 0.5"], trials["structured_prune 0.51"]):
                assert set(trial.measurement_ids) == {device.id for device in devices}
                assert {verdict.device for verdict in trial.verdicts} == {"pi", "pi-2", "jetson", ""}

            table.measured.clear()
            await scene.run(budgets={"latency_p95": "30ms", "accuracy": "90%"})
            assert [title for title in table.measured if title.startswith("structured_prune")] == []

            await scene.run(budgets={"latency_p95": "30ms", "accuracy": "90%"}, measuring={"threads": 4}, max_trials=2)
            assert [title for title in table.measured if title.startswith("structured_prune")] != []

    asyncio.run(play())


def test_no_more_runs_at_once_than_there_are_workers(make_scene: MakeScene) -> None:
    async def play(parallel: int | None, expected: int) -> int:
        table = world(**{f"prune_{amount}": Facts(size_bytes=1000 * amount) for amount in range(10, 60, 10)})
        async with make_scene(table, slots=3) as scene:

            async def meet_the_others(task: Task[Any], title: str) -> None:
                if isinstance(task, BuildDraft) and not full.is_set():
                    if scene.engine.busy == expected:
                        full.set()
                    await full.wait()

            full = asyncio.Event()
            scene.engine.before = meet_the_others
            await scene.run(budgets={"latency_p95": "20ms"}, parallel=parallel)
            return scene.engine.most_busy

    assert asyncio.run(play(None, 3)) == 3
    assert asyncio.run(play(2, 2)) == 2


def test_a_pass_that_cannot_be_done_ends_its_trial_only(make_scene: MakeScene) -> None:
    async def play() -> None:
        table = world(prune_50=Facts(size_bytes=50_000), prune_90=Facts(size_bytes=10_000))
        async with make_scene(table) as scene:

            async def before(task: Task[Any], title: str) -> None:
                if title == "structured_prune 0.9":
                    raise OperationError("structured_prune 0.9: nothing would be left", reason="PASS_FAILED")

            scene.engine.before = before
            search = await scene.run(budgets={"latency_p95": "20ms"})
            trials = await scene.trials(search)
        assert search.best_trial_id == trials["structured_prune 0.5"].id
        assert trials["structured_prune 0.9"].state is TrialState.FAILED
        assert trials["structured_prune 0.9"].reason == "structured_prune 0.9: nothing would be left"

    asyncio.run(play())


@pytest.mark.parametrize("kind", [TrainBaseline, CompressVariant])
def test_an_error_in_the_workload_ends_the_search_and_names_the_line(
    make_scene: MakeScene, kind: type[Task[Any]]
) -> None:
    async def play() -> None:
        async with make_scene(world(prune_50=Facts(size_bytes=50_000))) as scene:

            async def before(task: Task[Any], title: str) -> None:
                if isinstance(task, kind):
                    raise WorkloadFailedError("digits.py:12: train_data() raised KeyError: 'x'")

            scene.engine.before = before
            search = await scene.run(budgets={"latency_p95": "20ms"})
            trials = await scene.trials(search)
        assert search.state is SearchState.FAILED
        assert search.reason == "digits.py:12: train_data() raised KeyError: 'x'"
        assert all(trial.state.final for trial in trials.values())

    asyncio.run(play())


@pytest.mark.parametrize("title", ["baseline", "structured_prune 0.5"])
def test_a_lost_worker_ends_the_search_only_if_it_was_the_baseline_s(make_scene: MakeScene, title: str) -> None:
    async def play() -> None:
        async with make_scene(world(prune_50=Facts(size_bytes=50_000))) as scene:

            async def before(_: Task[Any], of: str) -> None:
                if of == title:
                    raise WorkerLostError("the worker was lost 3 times: its process died")

            scene.engine.before = before
            search = await scene.run(budgets={"latency_p95": "20ms"})
            trials = await scene.trials(search)
        assert search.state is (SearchState.FAILED if title == "baseline" else SearchState.SUCCEEDED)
        assert "the worker was lost" in (search.reason if title == "baseline" else trials[title].reason)

    asyncio.run(play())


def test_a_removed_device_ends_the_search(make_scene: MakeScene) -> None:
    async def play() -> None:
        async with make_scene(world(prune_50=Facts(size_bytes=50_000))) as scene:

            async def before(key: str, title: str) -> None:
                await scene.database.run(lambda tx: tx.devices.remove("id-of-pi"))
                raise OperationError("the device that was to measure was removed", reason="DEVICE_REMOVED")

            scene.measuring.before = before
            search = await scene.run(budgets={"latency_p95": "20ms"})
        assert search.state is SearchState.FAILED
        assert "removed" in search.reason

    asyncio.run(play())


def test_an_error_of_our_own_ends_the_search_and_is_logged(
    make_scene: MakeScene, caplog: pytest.LogCaptureFixture
) -> None:
    async def play() -> None:
        async with make_scene(world(prune_50=Facts(size_bytes=50_000))) as scene:

            async def before(task: Task[Any], title: str) -> None:
                raise ZeroDivisionError("oops")

            scene.engine.before = before
            search = await scene.run(budgets={"latency_p95": "20ms"})
        assert search.state is SearchState.FAILED
        assert "ZeroDivisionError: oops" in search.reason
        assert "ZeroDivisionError" in caplog.text

    asyncio.run(play())


def test_cancelling_frees_workers_and_devices_and_keeps_what_was_found(make_scene: MakeScene) -> None:
    async def play() -> None:
        table = world(prune_50=Facts(size_bytes=50_000), prune_60=Facts(size_bytes=40_000))
        async with make_scene(table) as scene:
            busy = asyncio.Event()

            async def train_for_ever(task: Task[Any], title: str) -> None:
                if isinstance(task, CompressVariant) and title != "baseline":
                    busy.set()
                    await asyncio.Event().wait()

            async def measure_for_ever(key: str, title: str) -> None:
                if title == "structured_prune 0.5":
                    await asyncio.Event().wait()

            scene.engine.before, scene.measuring.before = train_for_ever, measure_for_ever
            search = await scene.create(budgets={"latency_p95": "20ms"})
            await asyncio.wait_for(busy.wait(), 30)

            cancelled = await scene.controller.cancel(search.id)
            trials = await scene.trials(search)
            again = await scene.controller.cancel(search.id)

            assert cancelled.state is SearchState.CANCELLED
            assert again == cancelled
            assert scene.engine.busy == 0, "no worker goes on"
            assert f"{trials['structured_prune 0.5'].id}:measuring:id-of-pi" in scene.measuring.cancelled
            assert trials["structured_prune 0.6"].state is TrialState.CANCELLED
            assert trials["baseline"].accuracy == 0.98, "what was found stays"

    asyncio.run(play())


def test_an_unknown_search_cannot_be_cancelled(make_scene: MakeScene) -> None:
    async def play() -> None:
        async with make_scene(world()) as scene:
            with pytest.raises(NotFoundError):
                await scene.controller.cancel("nobody")

    asyncio.run(play())


def test_the_time_limit_ends_the_search_with_the_best_so_far(make_scene: MakeScene) -> None:
    async def play() -> None:
        table = world(prune_50=Facts(size_bytes=50_000), prune_90=Facts(size_bytes=10_000))
        async with make_scene(table, slots=1) as scene:

            async def before(task: Task[Any], title: str) -> None:
                if isinstance(task, CompressVariant) and title != "baseline":
                    await asyncio.Event().wait()

            async def skip_ahead(key: str, title: str) -> None:
                if title == "baseline" and ":confirming:" in key:
                    scene.clock.offset = timedelta(minutes=30, seconds=-1)

            scene.engine.before, scene.measuring.before = before, skip_ahead
            search = await scene.run(budgets={"latency_p95": "20ms"}, time_limit="30m")
            trials = await scene.trials(search)
            assert scene.engine.busy == 0
        assert search.state is SearchState.SUCCEEDED
        assert search.best_trial_id == trials["baseline"].id
        assert search.reason.endswith("the time limit of 30m ran out")
        assert trials["structured_prune 0.9"].state is TrialState.CANCELLED
        assert trials["structured_prune 0.9"].reason == "the time limit of 30m ran out"

    asyncio.run(play())


def test_no_more_trials_than_asked_for(make_scene: MakeScene) -> None:
    async def play() -> None:
        table = world(prune_20=Facts(size_bytes=80_000), prune_60=Facts(size_bytes=40_000))
        async with make_scene(table) as scene:
            search = await scene.run(budgets={"latency_p95": "20ms"}, max_trials=2)
            assert set(await scene.trials(search)) == {"baseline", "structured_prune 0.2"}

    asyncio.run(play())


def test_both_ends_of_the_space_out_of_budget_are_told_while_the_rest_is_measured(make_scene: MakeScene) -> None:
    async def play() -> None:
        table = world(
            prune_20=Facts(size_bytes=80_000, latency_ms=9),
            prune_40=Facts(size_bytes=60_000, latency_ms=1),
            prune_60=Facts(size_bytes=40_000, latency_ms=8),
        )
        async with make_scene(table) as scene:
            reasons: set[str] = set()

            async def before(key: str, title: str) -> None:
                if title == "structured_prune 0.4" and ":measuring:" in key:
                    while not (reason := (await scene.search(search)).reason):
                        await asyncio.sleep(0.01)
                    reasons.add(reason)

            scene.measuring.before = before
            search = await scene.create(budgets={"latency_p95": "3ms"})
            ended = await scene.finished(search)
        assert reasons == {
            "a budget may be out of reach: of the smallest candidate, "
            "latency p95 on pi is 8.16ms, 172% over its budget of 3.00ms"
        }
        assert ended.state is SearchState.SUCCEEDED, "the warning was no verdict"

    asyncio.run(play())


def test_the_same_key_is_the_same_search(make_scene: MakeScene) -> None:
    async def play() -> None:
        async with make_scene(world(prune_50=Facts(size_bytes=50_000))) as scene:
            first = await scene.create(budgets={"latency_p95": "20ms"}, key="once")
            second = await scene.create(budgets={"latency_p95": "20ms"}, key="once")
            other = await scene.create(budgets={"latency_p95": "20ms"})
        assert first.id == second.id != other.id

    asyncio.run(play())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"recipes": [{"passes": [{"pass": "structured_prun"}]}]}, r"recipes\.0: .*structured_prune"),
        ({"recipes": [{"passes": [{"pass": "structured_prune", "amount": 7}]}]}, r"recipes\.0: "),
        ({"sampler": "measure_first"}, "there is no sampler 'measure_first'"),
    ],
)
def test_a_spec_that_makes_no_sense_leaves_no_search_behind(
    make_scene: MakeScene, changes: dict[str, Any], message: str
) -> None:
    async def play() -> None:
        async with make_scene(world(prune_50=Facts(size_bytes=50_000))) as scene:
            with pytest.raises(InvalidInputError, match=message):
                await scene.create(budgets={"latency_p95": "20ms"}, **changes)
            assert await scene.database.run(lambda tx: tx.searches.list()) == ()

    asyncio.run(play())


def test_a_workload_that_is_no_python_is_refused_with_its_line(make_scene: MakeScene) -> None:
    async def play() -> None:
        async with make_scene(world(prune_50=Facts(size_bytes=50_000))) as scene:
            with pytest.raises(InvalidInputError, match=r"digits\.py:2: "):
                await create(scene, source=b"x = 1\ndef broken(:\n")
            with pytest.raises(NotFoundError):
                await create(scene, device_id="nobody")

    asyncio.run(play())


async def create(scene: Scene, *, source: bytes = WORKLOAD, device_id: str = "id-of-pi") -> None:
    await scene.controller.create(
        spec=parse_search_spec({"name": "digits", "devices": ["pi"], "budgets": {"size": "1MB"}}),
        device_ids=[device_id],
        workload_filename="digits.py",
        workload_source=source,
        idempotency_key="",
    )


def test_a_cluster_out_of_reach_is_waited_for(make_scene: MakeScene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.search.runner._RETRY_S", 0.01)

    async def play() -> None:
        async with make_scene(world(prune_50=Facts(size_bytes=50_000))) as scene:
            failures = 3

            async def start() -> None:
                nonlocal failures
                failures -= 1
                if failures >= 0:
                    raise UnavailableError("the Ray cluster cannot be joined")

            scene.engine.start = start
            search = await scene.run(budgets={"latency_p95": "20ms"})
        assert search.state is SearchState.SUCCEEDED
        assert failures < 0

    asyncio.run(play())


def test_a_cluster_out_of_reach_does_not_keep_a_search_from_being_cancelled(make_scene: MakeScene) -> None:
    async def play() -> None:
        async with make_scene(world(prune_50=Facts(size_bytes=50_000))) as scene:
            asked = asyncio.Event()

            async def start() -> None:
                asked.set()
                raise UnavailableError("the Ray cluster cannot be joined")

            scene.engine.start = start
            search = await scene.create(budgets={"latency_p95": "20ms"})
            await asyncio.wait_for(asked.wait(), 30)
            cancelled = await asyncio.wait_for(scene.controller.cancel(search.id), 4)
        assert cancelled.state is SearchState.CANCELLED

    asyncio.run(play())

import json
from collections.abc import Callable

import pytest
import torch

from orchestrator.errors import OperationError, WorkloadFailedError
from orchestrator.execution.tasks import BuildDraft, CompressVariant, Task, TrainBaseline
from orchestrator.execution.work import perform
from pipelines.recipe import Recipe, parse_recipe
from tests.orchestrator.execution.workloads import TROUBLE_LINE, a_workload


class CountingTurns:
    def __init__(self) -> None:
        self.count = 0

    def give_way(self) -> None:
        self.count += 1


def do(task: Task[object], *, report: Callable[[str], None] = lambda _: None) -> object:
    torch.set_num_threads(1)
    return perform(task, report=report, turns=CountingTurns())


@pytest.fixture(scope="module")
def checkpoint() -> bytes:
    trained = do(TrainBaseline(workload=a_workload(), seed=0))
    return trained.checkpoint


def test_a_baseline_comes_back_with_its_accuracy_and_the_name_of_the_metric() -> None:
    lines: list[str] = []
    turns = CountingTurns()

    trained = perform(TrainBaseline(workload=a_workload(epochs=2), seed=0), report=lines.append, turns=turns)

    assert 0 <= trained.accuracy <= 1
    assert trained.metric_name == "accuracy"
    assert any("epoch 2 of 2" in line for line in lines)
    assert turns.count >= 2 * 128 / 32, "it must be asked between batches whether to step aside"


def test_a_draft_and_the_trained_artifact_of_a_recipe_have_one_structure(checkpoint: bytes) -> None:
    recipe = parse_recipe({"passes": [{"pass": "structured_prune", "amount": 0.5}]}).canonical_json()
    parts = {"workload": a_workload(), "recipe_json": recipe, "baseline": checkpoint, "seed": 0}

    draft = do(BuildDraft(**parts))
    variant = do(CompressVariant(**parts))

    assert draft.structure_sha256 == variant.structure_sha256
    assert draft.sha256 != variant.sha256
    assert draft.size_bytes == len(draft.artifact)
    assert 0 <= variant.accuracy <= 1
    assert variant.golden.startswith(b"PK"), "golden inputs and outputs travel as one .npz"
    assert json.loads(variant.passes_json)[0]["name"] == "structured_prune"


def test_an_exception_in_the_workload_names_file_and_line() -> None:
    with pytest.raises(WorkloadFailedError, match=rf"tiny\.py:{TROUBLE_LINE}: .*no such picture"):
        do(TrainBaseline(workload=a_workload("raise FileNotFoundError('no such picture')"), seed=0))


def test_an_exception_that_the_library_does_not_expect_still_names_the_line_of_the_workload() -> None:
    class Broken:
        count = 0

        def give_way(self) -> None:
            exec(compile("\n\nraise RuntimeError('lost')", "tiny.py", "exec"))  # noqa: S102

    with pytest.raises(WorkloadFailedError, match=r"tiny\.py:3 in <module>: RuntimeError: lost"):
        perform(TrainBaseline(workload=a_workload(), seed=0), report=lambda _: None, turns=Broken())


def test_an_exception_outside_the_workload_is_not_blamed_on_it() -> None:
    class Broken:
        def give_way(self) -> None:
            raise RuntimeError("a fault of ours")

    with pytest.raises(RuntimeError, match="a fault of ours"):
        perform(TrainBaseline(workload=a_workload(), seed=0), report=lambda _: None, turns=Broken())


def test_what_the_library_cannot_do_keeps_its_reason(checkpoint: bytes) -> None:
    with pytest.raises(OperationError) as caught:
        do(
            CompressVariant(
                workload=a_workload(), recipe_json=Recipe().canonical_json(), baseline=checkpoint[:40], seed=0
            )
        )
    assert caught.value.reason == "CHECKPOINT_INVALID"

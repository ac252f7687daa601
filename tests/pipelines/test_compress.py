from __future__ import annotations

import io
import pickle
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from pipelines.checkpoint import load_checkpoint
from pipelines.compress import Baseline, Variant, compress, train_baseline
from pipelines.context import stand_in_for_training
from pipelines.distill.distill import Distill
from pipelines.errors import CheckpointError, NothingChangedError, WorkloadError
from pipelines.evaluation.runtime import open_artifact
from pipelines.export.artifact import Artifact
from pipelines.low_rank.svd import LowRank
from pipelines.observer import NullObserver
from pipelines.prune.structured import StructuredPrune
from pipelines.quantize.static import QuantizeInt8
from pipelines.recipe import Recipe
from pipelines.workload import Workload
from tests.fakes.workloads import PlainStripes, ResidualStripes

EVERYTHING = Recipe(
    passes=(Distill(width=0.75, epochs=6), StructuredPrune(amount=0.3), LowRank(rank=0.35), QuantizeInt8())
)


class Diary(NullObserver):
    def __init__(self) -> None:
        self.stages: list[str] = []
        self.epochs: list[tuple[str, int]] = []

    def stage(self, text: str) -> None:
        self.stages.append(text)

    def epoch(self, pass_name: str, epoch: int, epochs: int, loss: float, metric: float) -> None:
        self.epochs.append((pass_name, epochs))


@pytest.fixture(scope="module")
def diary() -> Diary:
    return Diary()


@pytest.fixture(scope="module")
def draft(stripes: Workload, stripes_baseline: Baseline) -> Variant:
    return compress(stripes, EVERYTHING, baseline=stripes_baseline.checkpoint, seed=0, train=False)


@pytest.fixture(scope="module")
def finished(stripes: Workload, stripes_baseline: Baseline, diary: Diary) -> Variant:
    return compress(stripes, EVERYTHING, baseline=stripes_baseline.checkpoint, seed=0, observer=diary)


def test_the_baseline_is_trained_and_repeats(stripes: Workload, stripes_baseline: Baseline) -> None:
    assert stripes_baseline.accuracy > 0.95
    assert stripes_baseline.train_s > 0
    again = train_baseline(stripes, seed=0)
    assert again.accuracy == stripes_baseline.accuracy
    first = load_checkpoint(stripes_baseline.checkpoint, stripes.model()).module.state_dict()
    second = load_checkpoint(again.checkpoint, stripes.model()).module.state_dict()
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def test_a_workload_with_weights_is_not_trained(tmp_path: Path, stripes: Workload, stripes_baseline: Baseline) -> None:
    module = load_checkpoint(stripes_baseline.checkpoint, stripes.model()).module
    torch.save(module.state_dict(), tmp_path / "weights.pt")

    class Trained(PlainStripes):
        checkpoint = tmp_path / "weights.pt"

    baseline = train_baseline(Trained(), seed=0)
    assert (baseline.accuracy, baseline.train_s) == (stripes_baseline.accuracy, 0.0)


def test_a_draft_has_the_structure_of_the_finished_artifact(draft: Variant, finished: Variant) -> None:
    assert draft.structure_sha256 == finished.structure_sha256
    assert draft.sha256 != finished.sha256
    assert abs(draft.size_bytes - finished.size_bytes) <= 0.02 * finished.size_bytes
    assert draft.accuracy is None
    assert draft.train_s == 0
    assert all(report.after.accuracy is None for report in draft.passes)


def test_the_same_seed_gives_the_same_bytes(stripes: Workload, stripes_baseline: Baseline, finished: Variant) -> None:
    again = compress(stripes, EVERYTHING, baseline=stripes_baseline.checkpoint, seed=0)
    assert again.sha256 == finished.sha256
    assert again.golden == finished.golden


def test_another_seed_gives_other_bytes_of_the_same_structure(
    stripes: Workload, stripes_baseline: Baseline, finished: Variant
) -> None:
    other = compress(stripes, EVERYTHING, baseline=stripes_baseline.checkpoint, seed=1)
    assert other.sha256 != finished.sha256
    assert other.structure_sha256 == finished.structure_sha256


def test_the_artifact_is_small_and_good(stripes_baseline: Baseline, finished: Variant) -> None:
    assert finished.accuracy is not None
    assert finished.accuracy > 0.8
    assert finished.size_bytes == len(finished.artifact)
    assert finished.size_bytes < 0.5 * 4 * finished.passes[0].before.parameters
    assert finished.sha256 == Artifact(content=finished.artifact, format="onnx").sha256


def test_widths_are_read_off_the_file(finished: Variant) -> None:
    shapes = [tuple(tensor.dims) for tensor in onnx.load_from_string(finished.artifact).graph.initializer]
    kernels = [shape for shape in shapes if len(shape) == 4]
    # 16 channels are 12 in the student and 8 after pruning; 24 are 20 and 16. The second layer is then two of rank 8,
    # and the first one, whose rank is 3 already, is left alone.
    assert kernels == [(8, 1, 3, 3), (8, 8, 3, 1), (16, 8, 1, 3)]


def test_each_pass_is_reported_with_what_it_changed(finished: Variant, stripes_baseline: Baseline) -> None:
    names = [report.name for report in finished.passes]
    assert names == ["distill", "structured_prune", "low_rank", "int8"]
    for earlier, later in zip(finished.passes, finished.passes[1:], strict=False):
        assert earlier.after.parameters == later.before.parameters
        assert earlier.after.macs == later.before.macs
    first, *_, last = finished.passes
    assert first.before.accuracy == stripes_baseline.accuracy
    assert last.after.accuracy == finished.accuracy
    assert last.after.weight_bytes < 0.6 * last.before.weight_bytes
    assert all(report.after.parameters < report.before.parameters for report in finished.passes[:3])
    assert first.parameters["width"] == 0.75
    assert pickle.loads(pickle.dumps(finished)) == finished  # noqa: S301
    assert asdict(last)["after"]["parameters"] == last.after.parameters


def test_passes_that_follow_each_other_share_one_training(finished: Variant, diary: Diary) -> None:
    assert [report.train_s > 0 for report in finished.passes] == [False, False, True, False]
    assert finished.train_s == finished.passes[2].train_s
    # The longest that one of them asked for.
    assert diary.epochs == [("distill 0.75 + structured_prune 0.3 + low_rank 0.35", 6)] * 6
    assert any("one training for" in remark for remark in finished.passes[2].remarks)


def test_the_stages_are_told_in_order(diary: Diary, finished: Variant) -> None:
    assert diary.stages == [
        "distill 0.75",
        "structured_prune 0.3",
        "low_rank 0.35",
        "train after distill 0.75 + structured_prune 0.3 + low_rank 0.35",
        "int8",
        "export to onnx",
        "accuracy of the file",
    ]


def test_the_artifact_reproduces_its_golden_outputs(finished: Variant) -> None:
    arrays = np.load(io.BytesIO(finished.golden))
    session = open_artifact(Artifact(content=finished.artifact, format=finished.format))
    rows = [session.run([arrays["input_0"][row : row + 1]])[0] for row in range(len(arrays["input_0"]))]
    assert np.array_equal(np.concatenate(rows), arrays["output_0"])
    assert finished.golden_tolerance == 0.05


def test_a_recipe_without_passes_is_the_baseline_as_a_file(stripes: Workload, stripes_baseline: Baseline) -> None:
    variant = compress(stripes, Recipe(), baseline=stripes_baseline.checkpoint, seed=0)
    draft = compress(stripes, Recipe(), baseline=stripes_baseline.checkpoint, seed=0, train=False)
    assert variant.accuracy == stripes_baseline.accuracy
    assert variant.passes == ()
    assert draft.artifact == variant.artifact
    assert variant.golden_tolerance == 1e-3


def test_a_pass_that_would_change_nothing_is_an_error(stripes: Workload, stripes_baseline: Baseline) -> None:
    for step in (StructuredPrune(amount=0.5, round_to=32), LowRank(rank=0.98)):
        with pytest.raises(NothingChangedError, match=step.title):
            compress(stripes, Recipe(passes=(step,)), baseline=stripes_baseline.checkpoint, seed=0, train=False)


def test_the_baseline_of_another_model_is_refused(stripes_baseline: Baseline) -> None:
    with pytest.raises(CheckpointError, match="another model"):
        compress(ResidualStripes(), Recipe(), baseline=stripes_baseline.checkpoint, seed=0)


def test_cancelling_ends_the_run_with_the_callers_own_exception(stripes: Workload, stripes_baseline: Baseline) -> None:
    class Cancelled(Exception):  # noqa: N818 - as a caller would name it
        pass

    class Impatient(NullObserver):
        def stage(self, text: str) -> None:
            if text.startswith("train"):
                raise Cancelled

    recipe = Recipe(passes=(StructuredPrune(amount=0.5),))
    with pytest.raises(Cancelled):
        compress(stripes, recipe, baseline=stripes_baseline.checkpoint, seed=0, observer=Impatient())


def test_randomness_of_the_caller_is_left_alone(stripes: Workload, stripes_baseline: Baseline) -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    recipe = Recipe(passes=(StructuredPrune(amount=0.5, importance="random"),))
    with pytest.raises(NothingChangedError):
        compress(stripes, Recipe(passes=(LowRank(rank=0.98),)), baseline=stripes_baseline.checkpoint, seed=3)
    assert recipe.passes
    assert torch.equal(torch.rand(3), expected)


def test_an_exception_in_the_users_forward_names_its_line(stripes: Workload, stripes_baseline: Baseline) -> None:
    class Fussy(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            for name, child in inner.named_children():
                self.add_module(name, child)

        def forward(self, inputs: Tensor) -> Any:
            raise LookupError("lost")

    class Broken(PlainStripes):
        def model(self) -> nn.Module:
            return Fussy(super().model())

    for train in (True, False):
        with pytest.raises(
            WorkloadError, match=r"test_compress\.py:\d+: the model's forward .*raised LookupError: lost"
        ):
            compress(Broken(), Recipe(), baseline=stripes_baseline.checkpoint, seed=0, train=train)


def test_a_stand_in_for_training_leaves_no_two_tensors_alike() -> None:
    module = ResidualStripes().model()
    stand_in_for_training(module, seed=0)
    vectors = [tensor for tensor in module.state_dict().values() if tensor.ndim == 1]
    assert all(tensor.unique().numel() > 1 for tensor in vectors)
    assert not any(
        torch.equal(one, other)
        for index, one in enumerate(vectors)
        for other in vectors[index + 1 :]
        if one.shape == other.shape
    )

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from pipelines.compress import Baseline, Variant, compress
from pipelines.errors import NothingChangedError, RecipeError
from pipelines.prune.masks import local_masks
from pipelines.prune.sparsity import GradualMasks, HeldMasks, prunable_weights, set_zeros, zero_count
from pipelines.recipe import parse_recipe
from pipelines.workload import Workload


def _variant(workload: Workload, baseline: Baseline, *passes: dict[str, Any], train: bool = True) -> Variant:
    recipe = parse_recipe({"passes": list(passes)})
    return compress(workload, recipe, baseline=baseline.checkpoint, seed=0, train=train)


def _zero_fraction(variant: Variant) -> float:
    """Share of zeros in the weights of the file, in whatever type they are stored."""
    tensors = [numpy_helper.to_array(tensor) for tensor in onnx.load_from_string(variant.artifact).graph.initializer]
    weights = np.concatenate([tensor.ravel() for tensor in tensors if tensor.ndim > 1])
    return float((weights == 0).mean())


@pytest.mark.parametrize("schedule", ["once", "gradual"])
@pytest.mark.parametrize("scope", ["local", "global"])
def test_the_trained_file_has_the_amount_of_zeros(
    stripes: Workload, stripes_baseline: Baseline, scope: str, schedule: str
) -> None:
    step = {"pass": "magnitude_prune", "amount": 0.75, "scope": scope, "schedule": schedule}
    variant = _variant(stripes, stripes_baseline, step)
    assert _zero_fraction(variant) == pytest.approx(0.75, abs=0.002)
    assert variant.accuracy is not None
    assert variant.accuracy > 0.8
    assert variant.passes[0].remarks[0] == "2,772 of 3,696 weights are zero after it"


@pytest.mark.parametrize("later", ["int8", "int8_dynamic"])
def test_zeros_survive_quantization_and_pay_at_delivery(
    stripes: Workload, stripes_baseline: Baseline, later: str
) -> None:
    dense = _variant(stripes, stripes_baseline, {"pass": later})
    step = {"pass": "magnitude_prune", "amount": 0.75}
    sparse = _variant(stripes, stripes_baseline, step, {"pass": later})
    assert _zero_fraction(sparse) >= 0.749
    assert sparse.size_bytes == pytest.approx(dense.size_bytes, rel=0.01)
    assert sparse.delivered_bytes < 0.75 * dense.delivered_bytes
    assert sparse.delivered_bytes < sparse.size_bytes


def test_every_run_of_the_pattern_has_its_zeros_in_the_file(stripes: Workload, stripes_baseline: Baseline) -> None:
    variant = _variant(stripes, stripes_baseline, {"pass": "magnitude_prune", "pattern": "2:4"})
    tensors = [numpy_helper.to_array(tensor) for tensor in onnx.load_from_string(variant.artifact).graph.initializer]
    (kernel,) = [tensor for tensor in tensors if tensor.shape == (24, 16, 3, 3)]
    runs = kernel.transpose(0, 2, 3, 1).reshape(-1, 4)
    assert ((runs != 0).sum(axis=1) <= 2).all()
    assert any("0.0.weight left alone" in remark for remark in variant.passes[0].remarks)


def test_a_structure_is_pruned_first_and_then_made_sparse(stripes: Workload, stripes_baseline: Baseline) -> None:
    thin, sparse = {"pass": "structured_prune", "amount": 0.5}, {"pass": "magnitude_prune", "amount": 0.5}
    variant = _variant(stripes, stripes_baseline, thin, sparse, {"pass": "int8"})
    assert [report.train_s > 0 for report in variant.passes] == [True, True, False]
    assert _zero_fraction(variant) >= 0.5
    with pytest.raises(RecipeError, match=r"structured_prune cannot come after magnitude_prune: it makes other layers"):
        parse_recipe({"passes": [sparse, thin]})
    with pytest.raises(RecipeError, match="zeros are chosen once"):
        parse_recipe({"passes": [sparse, sparse]})


@pytest.mark.parametrize(
    ("parameters", "complaint"),
    [
        ({}, "give one of amount, threshold and pattern, not none"),
        ({"amount": 0.5, "pattern": "2:4"}, "not amount and pattern"),
        ({"pattern": "4:4"}, "leaves every weight"),
        ({"pattern": "two:four"}, "pattern"),
        ({"amount": 1.0}, "less than 1"),
        ({"threshold": 0.0}, "greater than 0"),
        ({"threshold": 0.1, "scope": "global"}, "scope 'global' goes with an amount"),
        ({"pattern": "2:4", "schedule": "gradual"}, "schedule 'gradual' goes with an amount"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(parameters: dict[str, Any], complaint: str) -> None:
    with pytest.raises(RecipeError, match=complaint):
        parse_recipe({"passes": [{"pass": "magnitude_prune", **parameters}]})


def test_a_threshold_below_every_weight_changes_nothing(stripes: Workload, stripes_baseline: Baseline) -> None:
    with pytest.raises(NothingChangedError, match="no weight would become zero"):
        _variant(stripes, stripes_baseline, {"pass": "magnitude_prune", "threshold": 1e-30}, train=False)


def test_a_title_says_what_is_chosen() -> None:
    steps = [{"amount": 0.7}, {"threshold": 0.01}, {"pattern": "2:4"}]
    titles = [parse_recipe({"passes": [{"pass": "magnitude_prune", **step}]}).title for step in steps]
    assert titles == ["magnitude_prune 0.7", "magnitude_prune <0.01", "magnitude_prune 2:4"]


def test_words_and_biases_are_not_pruned() -> None:
    module = nn.ModuleDict({"words": nn.Embedding(10, 4), "reader": nn.GRU(4, 4), "head": nn.Linear(4, 2)})
    assert set(prunable_weights(module)) == {"reader.weight_ih_l0", "reader.weight_hh_l0", "head.weight"}


def test_held_weights_stay_zero_whatever_an_optimizer_does() -> None:
    module = nn.Linear(8, 8)
    masks = local_masks({"weight": module.weight.detach()}, 0.5)
    set_zeros(module, masks)
    with torch.no_grad():
        module.weight.add_(1)
    HeldMasks(masks).hold(module, 0.5)
    assert zero_count({"weight": module.weight.detach()}) == 32
    assert bool((module.weight[masks["weight"]] != 0).all())


def test_a_gradual_schedule_prunes_more_and_more_and_then_no_more() -> None:
    torch.manual_seed(0)
    module = nn.Linear(32, 32)
    gradual = GradualMasks(0.8, local_masks)
    zeros = []
    for progress in (0.0, 0.1, 0.3, 0.6, 0.8, 1.0):
        gradual.hold(module, progress)
        zeros.append(zero_count({"weight": module.weight.detach()}))
    assert zeros[0] == 0
    assert zeros == sorted(zeros)
    assert len(set(zeros)) == 4
    assert zeros[3:] == [round(0.8 * 1024)] * 3

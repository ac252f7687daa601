from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from pipelines.prune.masks import cubic_amount, global_masks, local_masks, pattern_mask, threshold_masks


def _network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(4, 8, 3), nn.Conv2d(8, 16, 3), nn.Flatten(), nn.Linear(64, 10))


def _weights(network: nn.Module) -> dict[str, Tensor]:
    return {name: weight.detach() for name, weight in network.named_parameters() if weight.ndim > 1}


@pytest.mark.parametrize("amount", [0.05, 0.5, 0.93])
def test_local_masks_are_those_of_pytorch(amount: float) -> None:
    network = _network()
    found = local_masks(_weights(network), amount)
    for name in ("0", "1", "3"):
        prune.l1_unstructured(network.get_submodule(name), "weight", amount=amount)
        assert torch.equal(found[f"{name}.weight"], network.get_submodule(name).weight_mask.bool())


@pytest.mark.parametrize("amount", [0.05, 0.5, 0.93])
def test_global_masks_are_those_of_pytorch(amount: float) -> None:
    network = _network()
    found = global_masks(_weights(network), amount)
    layers = [(network.get_submodule(name), "weight") for name in ("0", "1", "3")]
    prune.global_unstructured(layers, pruning_method=prune.L1Unstructured, amount=amount)
    for name in ("0", "1", "3"):
        assert torch.equal(found[f"{name}.weight"], network.get_submodule(name).weight_mask.bool())


def test_no_layer_is_left_without_a_weight() -> None:
    weights = {"small": torch.full((4, 4), 1e-6), "large": torch.ones(4, 4)}
    for masks in (global_masks(weights, 0.5), threshold_masks(weights, 0.1), local_masks(weights, 0.999)):
        assert masks["small"].sum() == 1
        assert masks["large"].any()


def test_a_threshold_leaves_what_reaches_it() -> None:
    masks = threshold_masks({"w": torch.tensor([[-0.3, 0.2], [0.1, -0.05]])}, 0.2)
    assert masks["w"].tolist() == [[True, True], [False, False]]


@pytest.mark.parametrize(("kept", "of"), [(2, 4), (1, 4), (3, 8)])
def test_a_pattern_leaves_the_largest_of_each_run_of_input_channels(kept: int, of: int) -> None:
    torch.manual_seed(1)
    weight = torch.randn(5, 16, 3, 3)
    mask = pattern_mask(weight, kept, of)
    assert mask is not None
    runs = mask.permute(0, 2, 3, 1).reshape(-1, of)
    assert (runs.sum(dim=1) == kept).all()
    magnitudes = weight.abs().permute(0, 2, 3, 1).reshape(-1, of)
    lowest_kept = magnitudes.masked_fill(~runs, torch.inf).amin(dim=1)
    highest_gone = magnitudes.masked_fill(runs, 0).amax(dim=1)
    assert (lowest_kept >= highest_gone).all()


def test_a_pattern_needs_input_channels_that_divide() -> None:
    assert pattern_mask(torch.ones(8, 6, 3, 3), 2, 4) is None


def test_the_cubic_curve_rises_fast_and_ends_at_the_amount() -> None:
    curve = [cubic_amount(0.8, progress / 10) for progress in range(11)]
    assert (curve[0], curve[-1], cubic_amount(0.8, 1.5)) == (0, 0.8, 0.8)
    steps = [later - earlier for earlier, later in itertools.pairwise(curve)]
    assert steps == sorted(steps, reverse=True)
    assert cubic_amount(0.8, 0.5) == pytest.approx(0.8 * (1 - 0.5**3))

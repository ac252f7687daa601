from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pipelines.errors import UnsupportedModelError
from pipelines.low_rank.layers import factor_layers
from pipelines.network import Factor, Network
from tests.fakes.workloads import ResidualStripes

IMAGE = (torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(0)),)


def _parameters(network: Network) -> int:
    return sum(parameter.numel() for parameter in network.module.parameters())


def test_only_layers_that_get_smaller_are_factored_and_the_rest_is_named() -> None:
    network = Network(module=ResidualStripes().model().eval())
    factored, left_alone = factor_layers(network, IMAGE, rank_fraction=0.5, round_to=1)
    # A square layer's two halves hold as many weights at half of its rank.
    assert left_alone == {
        "1.first.0": "2304 weights at rank 24 are no fewer than its 2304",
        "1.second.0": "2304 weights at rank 24 are no fewer than its 2304",
        "2.second.0": "5184 weights at rank 36 are no fewer than its 5184",
    }
    assert {edit.layer: edit.rank for edit in factored.edits if isinstance(edit, Factor)} == {
        "0.0": 2, "2.first.0": 24, "2.around": 8, "5": 2,
    }  # fmt: skip
    saved = (144 - 2 * 51) + (3456 - 24 * 120) + (384 - 8 * 40) + (96 - 2 * 28)
    assert _parameters(network) - _parameters(factored) == saved
    assert factored.module(*IMAGE).shape == (1, 4)


def test_a_third_of_the_rank_makes_every_layer_smaller() -> None:
    network = Network(module=ResidualStripes().model().eval())
    factored, left_alone = factor_layers(network, IMAGE, rank_fraction=0.33, round_to=1)
    assert left_alone == {}
    assert len(factored.edits) == 7
    assert network.edits == ()


def test_a_rank_is_rounded_as_channels_are() -> None:
    network = Network(module=ResidualStripes().model().eval())
    factored, left_alone = factor_layers(network, IMAGE, rank_fraction=0.3, round_to=8)
    assert all(edit.rank % 8 == 0 for edit in factored.edits if isinstance(edit, Factor))
    assert "0.0" in left_alone


def test_where_nothing_gets_smaller_the_network_itself_comes_back() -> None:
    network = Network(module=nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).eval())
    factored, left_alone = factor_layers(network, IMAGE, rank_fraction=0.99, round_to=1)
    assert factored is network
    assert left_alone == {"1": "201 weights at rank 3 are no fewer than its 192"}


def test_a_layer_with_two_names_or_a_shared_weight_is_left_alone() -> None:
    shared, tied_to = nn.Linear(64, 64), nn.Linear(64, 64)
    tied = nn.Linear(64, 64)
    tied.weight = tied_to.weight
    module = nn.Sequential(nn.Flatten(), shared, shared, tied, tied_to, nn.Linear(64, 64)).eval()
    factored, left_alone = factor_layers(Network(module=module), IMAGE, rank_fraction=0.25, round_to=4)
    assert [edit.layer for edit in factored.edits] == ["5"]
    assert set(left_alone.values()) == {"it is used under more than one name"}


def test_a_transformer_layer_keeps_the_weights_that_it_reads_directly() -> None:
    layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
    module = nn.Sequential(layer, nn.Linear(32, 32)).eval()
    factored, left_alone = factor_layers(
        Network(module=module), (torch.zeros(1, 5, 32),), rank_fraction=0.25, round_to=4
    )
    assert [edit.layer for edit in factored.edits] == ["1"]
    assert "TransformerEncoderLayer reads its weights directly" in left_alone["0.linear1"]


class Reader(nn.Module):
    """Uses a layer's weight without calling the layer."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(64, 64)

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs.flatten(1) @ self.linear.weight


def test_a_model_that_does_not_run_with_factored_layers_is_refused() -> None:
    with pytest.raises(UnsupportedModelError, match="does not run with factored layers") as caught:
        factor_layers(Network(module=Reader().eval()), IMAGE, rank_fraction=0.25, round_to=4)
    assert "leave low_rank out" in caught.value.hint


def test_by_energy_a_redundant_layer_loses_more_than_one_that_is_not() -> None:
    torch.manual_seed(0)
    redundant, full = nn.Linear(32, 32), nn.Linear(32, 32)
    with torch.no_grad():
        redundant.weight.copy_(torch.randn(32, 4) @ torch.randn(4, 32) + 1e-3 * torch.randn(32, 32))
        torch.nn.init.orthogonal_(full.weight)
    network = Network(module=nn.Sequential(redundant, full).eval())
    factored, left_alone = factor_layers(network, (torch.zeros(1, 32),), energy=0.99, round_to=1)
    assert {edit.layer: edit.rank for edit in factored.edits if isinstance(edit, Factor)} == {"0": 4}
    assert set(left_alone) == {"1"}
    rounded, _ = factor_layers(network, (torch.zeros(1, 32),), energy=0.99, round_to=8)
    # Up, so that the energy is kept.
    assert [edit.rank for edit in rounded.edits if isinstance(edit, Factor)] == [8]

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from pipelines.low_rank.factors import (
    factored,
    factored_shell,
    factored_weight_count,
    full_rank,
    layer_matrix,
    matrix_factors,
    rank_of_energy,
    why_not_factored,
)

LAYERS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "linear": (nn.Linear(20, 12), (3, 20)),
    "linear without bias": (nn.Linear(6, 9, bias=False), (3, 6)),
    "linear on sequences": (nn.Linear(6, 9), (3, 5, 6)),
    "pointwise": (nn.Conv2d(12, 10, 1), (2, 12, 7, 7)),
    "pointwise with stride": (nn.Conv2d(12, 10, 1, stride=2), (2, 12, 7, 7)),
    "pointwise with padding": (nn.Conv2d(12, 10, 1, padding=1), (2, 12, 7, 7)),
    "3 x 3": (nn.Conv2d(8, 12, 3, padding=1), (2, 8, 9, 9)),
    "3 x 3 with stride": (nn.Conv2d(8, 12, 3, stride=2, padding=1, bias=False), (2, 8, 9, 9)),
    "3 x 3 dilated": (nn.Conv2d(8, 12, 3, padding=2, dilation=2), (2, 8, 9, 9)),
    "5 x 3 with uneven everything": (nn.Conv2d(4, 6, (5, 3), stride=(1, 2), padding=(2, 0)), (2, 4, 11, 9)),
    "3 x 3 to the same size": (nn.Conv2d(8, 12, 3, padding="same"), (2, 8, 9, 9)),
}


def _seeded_input(shape: tuple[int, ...]) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@settings(max_examples=40, deadline=None)
@given(rows=st.integers(1, 12), columns=st.integers(1, 12), seed=st.integers(0, 1000), data=st.data())
def test_the_error_is_the_least_that_any_product_of_that_rank_can_have(
    rows: int, columns: int, seed: int, data: st.DataObject
) -> None:
    rank = data.draw(st.integers(1, min(rows, columns)))
    matrix = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    left, right = matrix_factors(matrix, rank)
    assert (left.shape, right.shape) == ((rows, rank), (rank, columns))
    bound = torch.linalg.svdvals(matrix)[rank:].square().sum().sqrt()
    torch.testing.assert_close(torch.linalg.matrix_norm(matrix - left @ right), bound, atol=1e-10, rtol=1e-8)


def test_both_factors_have_about_the_same_range() -> None:
    left, right = matrix_factors(_seeded_input((30, 20)), 5)
    torch.testing.assert_close(left.norm(dim=0), right.norm(dim=1), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", LAYERS)
def test_at_full_rank_two_layers_compute_what_one_did(name: str) -> None:
    layer, shape = LAYERS[name]
    inputs = _seeded_input(shape)
    torch.testing.assert_close(factored(layer, full_rank(layer))(inputs), layer(inputs), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", LAYERS)
def test_the_weights_are_as_few_as_was_counted(name: str) -> None:
    layer, _ = LAYERS[name]
    pair = factored(layer, 2)
    weights = sum(parameter.numel() for parameter in pair.parameters() if parameter.ndim > 1)
    assert weights == factored_weight_count(layer, 2)
    assert (pair[1].bias is None) == (layer.bias is None)
    assert pair[0].bias is None


@pytest.mark.parametrize("name", LAYERS)
def test_a_lower_rank_is_the_best_approximation_of_the_layer(name: str) -> None:
    layer, _ = LAYERS[name]
    left, right = matrix_factors(layer_matrix(layer), 3)
    pair = factored(layer, 3)
    kernels = [parameter for parameter in pair.parameters() if parameter.ndim > 1]
    if isinstance(layer, nn.Conv2d) and layer.kernel_size != (1, 1):
        composed = torch.einsum("rihw,orxy->oihy", kernels[0], kernels[1])
        distance = torch.linalg.vector_norm(composed - layer.weight)
    else:
        composed = kernels[1].flatten(1) @ kernels[0].flatten(1)
        distance = torch.linalg.vector_norm(composed - layer.weight.flatten(1))  # type: ignore[operator]
    torch.testing.assert_close(distance, torch.linalg.matrix_norm(layer_matrix(layer) - left @ right))


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (nn.Conv2d(8, 8, 3, groups=8), "in 8 groups"),
        (nn.Conv2d(8, 8, 3, padding=1, padding_mode="reflect"), "padding mode 'reflect'"),
        (nn.Conv1d(8, 8, 3), "Conv1d is not factored"),
        (nn.GRU(8, 8), "GRU is not factored"),
    ],
)
def test_a_layer_without_one_matrix_is_left_alone(layer: nn.Module, reason: str) -> None:
    assert reason in why_not_factored(layer)
    with pytest.raises(TypeError):
        factored_shell(layer, 2)


@pytest.mark.parametrize("energy", [0.3, 0.9, 0.999])
def test_the_rank_of_an_energy_is_the_lowest_that_keeps_it(energy: float) -> None:
    torch.manual_seed(0)
    matrix = torch.randn(20, 30) @ torch.diag(torch.logspace(0, -2, 30))
    rank = rank_of_energy(matrix, energy)

    def kept(rank: int) -> float:
        left, right = matrix_factors(matrix, rank)
        return 1 - float((left @ right - matrix).square().sum() / matrix.square().sum())

    assert 1 <= rank < 20
    assert kept(rank) >= energy - 1e-6
    assert rank == 1 or kept(rank - 1) < energy


def test_the_energy_of_a_matrix_of_low_rank_takes_that_rank() -> None:
    torch.manual_seed(0)
    assert rank_of_energy(torch.randn(16, 3) @ torch.randn(3, 16), 1 - 1e-9) == 3
    assert rank_of_energy(torch.zeros(4, 4), 0.5) == 1

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from pipelines.errors import NothingChangedError, UnsupportedModelError
from pipelines.network import Network
from pipelines.prune.channels import remove_channels
from tests.fakes.workloads import PlainStripes, ResidualStripes, block

IMAGE = (torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(0)),)


def _prune(module: nn.Module, example: tuple[Tensor, ...] = IMAGE, **settings: object) -> nn.Module:
    arguments = {"amount": 0.5, "importance": "l2", "round_to": 4, "seed": 0, **settings}
    return remove_channels(Network(module=module.eval()), example, **arguments).module  # type: ignore[arg-type]


def _layers(module: nn.Module, kind: type[nn.Module]) -> list[nn.Module]:
    return [layer for layer in module.modules() if isinstance(layer, kind)]


def _widths(module: nn.Module) -> list[tuple[int, int]]:
    return [(layer.in_channels, layer.out_channels) for layer in _layers(module, nn.Conv2d)]  # type: ignore[misc]


def test_every_layer_but_the_last_loses_its_share() -> None:
    pruned = _prune(PlainStripes().model())
    assert _widths(pruned) == [(1, 8), (8, 12)]
    linear = _layers(pruned, nn.Linear)[0]
    assert (linear.in_features, linear.out_features) == (12, 4)


def test_layers_joined_by_a_shortcut_lose_the_same_channels() -> None:
    pruned = _prune(ResidualStripes().model())
    assert _widths(pruned) == [(1, 8), (8, 8), (8, 8), (8, 12), (12, 12), (8, 12)]
    assert pruned(*IMAGE).shape == (1, 4)


def test_the_strongest_channels_stay() -> None:
    module = nn.Sequential(nn.Conv2d(1, 8, 3), nn.Flatten(), nn.Linear(8 * 36, 2))
    with torch.no_grad():
        module[0].weight[::2] *= 100  # type: ignore[index, operator]
    expected = module[0].weight[::2].clone()  # type: ignore[index]
    pruned = _prune(module)
    assert torch.equal(pruned[0].weight, expected)  # type: ignore[index]


def test_channels_that_weigh_nothing_can_go_without_a_trace() -> None:
    module = ResidualStripes().model().eval()
    first = module[0][0]  # type: ignore[index]
    silent = [1, 3, 5, 7, 9, 11, 13, 15]
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, nn.Conv2d | nn.BatchNorm2d) and layer.weight.shape[0] == 16:
                layer.weight[silent] = 0
                if layer.bias is not None:
                    layer.bias[silent] = 0
            if isinstance(layer, nn.Conv2d) and layer.in_channels == 16:
                layer.weight[:, silent] = 0
    assert first.weight.shape[0] == 16
    stripes = torch.randn(3, 1, 8, 8)
    before = module(stripes)
    # The wider layers are left whole by their rounding: only the silent channels go.
    pruned = _prune(module, round_to=8, amount=0.4)
    assert _widths(pruned)[:3] == [(1, 8), (8, 8), (8, 8)]
    assert _widths(pruned)[-1][0] == 8
    if _widths(pruned)[3][1] == 24:
        torch.testing.assert_close(pruned(stripes), before)


def test_the_original_is_left_as_it_was() -> None:
    module = PlainStripes().model().eval()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    _prune(module)
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())


def test_random_importance_follows_its_seed() -> None:
    module = PlainStripes().model()
    first = _prune(module, importance="random", seed=1).state_dict()["0.0.weight"]
    again = _prune(module, importance="random", seed=1).state_dict()["0.0.weight"]
    other = _prune(module, importance="random", seed=2).state_dict()["0.0.weight"]
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


class Concatenating(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.after = block(1, 8), block(1, 16), block(24, 16)
        self.head = nn.Conv2d(16, 3, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.after(torch.cat([self.left(inputs), self.right(inputs)], dim=1)))  # type: ignore[no-any-return]


class Depthwise(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.expand = block(1, 16)
        self.depthwise = nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.project = nn.Conv2d(16, 8, 1)
        self.head = nn.Linear(8, 4)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(functional.relu(self.project(self.depthwise(self.expand(inputs)))).mean((2, 3)))  # type: ignore[no-any-return]


def test_concatenated_layers_are_followed() -> None:
    assert _widths(_prune(Concatenating())) == [(1, 4), (1, 8), (12, 8), (8, 3)]


def test_depthwise_convolution_follows_its_input() -> None:
    pruned = _prune(Depthwise())
    assert _widths(pruned) == [(1, 8), (8, 8), (8, 4)]
    assert pruned.depthwise.groups == 8


def test_grouped_convolution_keeps_as_many_channels_in_each_group() -> None:
    grouped = nn.Conv2d(16, 32, 3, padding=1, groups=4)
    pruned = _prune(nn.Sequential(block(1, 16), grouped, nn.ReLU(), nn.Conv2d(32, 4, 1)))
    assert _widths(pruned) == [(1, 8), (8, 16), (16, 4)]
    assert pruned[1].groups == 4  # type: ignore[index]


def test_a_one_dimensional_network_is_pruned_too() -> None:
    series = (torch.zeros(1, 3, 20),)
    module = nn.Sequential(nn.Conv1d(3, 16, 5), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(16, 4))
    pruned = _prune(module, series)
    assert pruned[0].out_channels == 8  # type: ignore[index]


def test_a_frozen_layer_is_pruned_too() -> None:
    module = PlainStripes().model()
    module.requires_grad_(False)
    assert _widths(_prune(module)) == [(1, 8), (8, 12)]


def test_nothing_to_remove_is_an_error() -> None:
    with pytest.raises(NothingChangedError, match=r"no group of layers has channels to spare at an amount of 0\.5"):
        _prune(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)))
    with pytest.raises(NothingChangedError, match="rounded to 32"):
        _prune(PlainStripes().model(), round_to=32)


class Stubborn(nn.Module):
    """Has a size of its own as a number in forward."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.linear = nn.Conv2d(1, 16, 3, padding=1), nn.Linear(16 * 64, 4)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.linear(self.convolution(inputs).view(-1, 16 * 64))  # type: ignore[no-any-return]


class Untraceable(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(64, 16)

    def forward(self, inputs: Tensor) -> Tensor:
        raise ValueError("not today")


@pytest.mark.parametrize("make", [Stubborn, Untraceable])
def test_a_model_that_cannot_lose_channels_is_refused_with_a_way_out(make: Callable[[], nn.Module]) -> None:
    with pytest.raises(UnsupportedModelError) as caught:
        _prune(make())
    assert caught.value.hint

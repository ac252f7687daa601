"""Sparsity of a network: which of its weights are zero, and that they stay so while it is trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from pipelines.prune.masks import cubic_amount

# Share of the training over which a gradual schedule reaches its amount; the rest recovers from it.
RAMP_FRACTION = 0.6
# Times that masks are made anew on that way.
RAMP_STEPS = 20
# Rows of these are looked up, not multiplied: their zeros would be words without a meaning.
_LOOKED_UP = (nn.Embedding, nn.EmbeddingBag)

Masks = Mapping[str, Tensor]


def prunable_weights(module: nn.Module) -> dict[str, nn.Parameter]:
    """The weights of layers that multiply by them, by qualified name; a shared one stands under its first name."""
    looked_up = {
        id(weight)
        for layer in module.modules()
        if isinstance(layer, _LOOKED_UP)
        for weight in layer.parameters(recurse=False)
    }
    return {
        name: parameter
        for name, parameter in module.named_parameters()
        if parameter.ndim > 1 and "weight" in name.rpartition(".")[2] and id(parameter) not in looked_up
    }


def zero_count(weights: Mapping[str, Tensor]) -> int:
    """How many of the weights are zero."""
    return sum(int((weight == 0).sum()) for weight in weights.values())


@torch.no_grad()
def set_zeros(module: nn.Module, masks: Masks) -> None:
    """Sets every weight to zero that its mask leaves out, in place."""
    weights = prunable_weights(module)
    for name, mask in masks.items():
        weights[name].masked_fill_(~mask, 0)


class HeldMasks:
    """Keeps weights at zero through a training."""

    def __init__(self, masks: Masks) -> None:
        self._masks = masks

    def hold(self, module: nn.Module, progress: float) -> None:
        """Sets the weights to zero again that a step of the optimizer has moved."""
        set_zeros(module, self._masks)


class GradualMasks:
    """Sets more and more weights to zero during a training, along the cubic schedule, and keeps them there.

    Source: Zhu, Gupta: To prune, or not to prune: exploring the efficacy of pruning for model compression, 2017. We
    differ in that the schedule is a share of the training, not a number of steps.
    """

    def __init__(self, amount: float, masks_at: Callable[[Mapping[str, Tensor], float], Masks]) -> None:
        self._amount = amount
        self._masks_at = masks_at
        self._reached = -1
        self._masks: Masks = {}

    def hold(self, module: nn.Module, progress: float) -> None:
        """Prunes as far as this share of the training asks for."""
        step = min(RAMP_STEPS, int(progress / RAMP_FRACTION * RAMP_STEPS))
        if step > self._reached:
            self._reached = step
            amount = cubic_amount(self._amount, step / RAMP_STEPS)
            weights = {name: weight.detach() for name, weight in prunable_weights(module).items()}
            self._masks = self._masks_at(weights, amount)
        set_zeros(module, self._masks)

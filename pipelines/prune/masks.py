"""Masks of weights by their magnitude: plain functions on tensors. True means that the weight stays."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def local_masks(weights: Mapping[str, Tensor], amount: float) -> dict[str, Tensor]:
    """Masks under which each tensor loses this share of its weights, those of the smallest magnitude."""
    return {name: _without_smallest(weight.abs(), round(amount * weight.numel())) for name, weight in weights.items()}


def global_masks(weights: Mapping[str, Tensor], amount: float) -> dict[str, Tensor]:
    """Masks under which all tensors together lose this share of their weights, wherever the smallest are.

    Each tensor keeps at least its largest weight: a layer of zeros would cut the network in two.
    """
    magnitudes = torch.cat([weight.abs().flatten() for weight in weights.values()])
    mask = _without_smallest(magnitudes, round(amount * magnitudes.numel()))
    parts = torch.split(mask, [weight.numel() for weight in weights.values()])
    return {
        name: _with_the_largest(weight, part.view_as(weight))
        for (name, weight), part in zip(weights.items(), parts, strict=True)
    }


def threshold_masks(weights: Mapping[str, Tensor], threshold: float) -> dict[str, Tensor]:
    """Masks under which weights with a magnitude below the threshold go; each tensor keeps at least its largest."""
    return {name: _with_the_largest(weight, weight.abs() >= threshold) for name, weight in weights.items()}


def pattern_mask(weight: Tensor, kept: int, of: int) -> Tensor | None:
    """The mask under which ``kept`` weights stay in each run of ``of`` along the input channels.

    Args:
        weight: ``(out, in, …)``.
        kept: N of the pattern N:M.
        of: M of the pattern N:M.

    Returns:
        None where the input channels do not divide into such runs.
    """
    if weight.shape[1] % of:
        return None
    inputs_last = weight.abs().movedim(1, -1)
    runs = inputs_last.reshape(-1, of)
    order = torch.argsort(runs, dim=1, descending=True, stable=True)
    mask = torch.zeros_like(runs, dtype=torch.bool).scatter_(1, order[:, :kept], True)
    return mask.view(inputs_last.shape).movedim(-1, 1)


def cubic_amount(amount: float, progress: float) -> float:
    """The share that is pruned after this share of the way to ``amount``: fast at first, then ever more slowly."""
    return float(amount * (1 - (1 - min(progress, 1.0)) ** 3))


def _without_smallest(magnitudes: Tensor, count: int) -> Tensor:
    """The mask without the ``count`` smallest, but with the largest one in any case."""
    count = min(count, magnitudes.numel() - 1)
    mask = torch.ones(magnitudes.numel(), dtype=torch.bool)
    mask[torch.argsort(magnitudes.flatten(), stable=True)[:count]] = False
    return mask.view_as(magnitudes)


def _with_the_largest(weight: Tensor, mask: Tensor) -> Tensor:
    mask = mask.clone()
    mask.view(-1)[weight.abs().argmax()] = True
    return mask

"""Factors of a layer: plain functions on tensors and single layers."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def matrix_factors(matrix: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """The best approximation of a matrix by a product of two of lower rank.

    Args:
        matrix: ``(rows, columns)``.
        rank: At most the smaller of the two.

    Returns:
        ``(rows, rank)`` and ``(rank, columns)`` in the matrix's dtype. The Frobenius norm of the error is that of the
        singular values left out, which no product of this rank undercuts (Eckart and Young). The singular values kept
        are shared evenly by both factors, so that both have about the same range, which quantization likes.
    """
    left, values, right = torch.linalg.svd(matrix.double(), full_matrices=False)
    roots = values[:rank].sqrt()
    return (left[:, :rank] * roots).to(matrix.dtype), (roots[:, None] * right[:rank]).to(matrix.dtype)


def layer_matrix(layer: nn.Module) -> Tensor:
    """The matrix that stands for a layer in its decomposition.

    ``(out, in)`` of a linear layer and a 1 x 1 convolution; ``(in·height, width·out)`` of a k x k convolution: its
    vertical part against its horizontal part.

    Raises:
        TypeError: It is another kind of layer.
    """
    if isinstance(layer, nn.Linear):
        return layer.weight.detach()
    if not isinstance(layer, nn.Conv2d):
        raise TypeError(f"{type(layer).__name__} has no one matrix")
    if layer.kernel_size == (1, 1):
        return layer.weight.detach()[:, :, 0, 0]
    out_channels, in_channels, height, width = layer.weight.shape
    return layer.weight.detach().permute(1, 2, 3, 0).reshape(in_channels * height, width * out_channels)


def full_rank(layer: nn.Module) -> int:
    """The rank that the layer's matrix can have at most."""
    return min(layer_matrix(layer).shape)


def rank_of_energy(matrix: Tensor, energy: float) -> int:
    """The lowest rank whose best approximation keeps this share of the matrix's energy, the sum of its squares.

    The squared error of the approximation is then at most the rest of it. At least one.
    """
    energies = torch.linalg.svdvals(matrix.double()).square()
    kept = torch.cumsum(energies, dim=0)
    return min(len(kept), int((kept < energy * kept[-1]).sum()) + 1)


def factored_weight_count(layer: nn.Module, rank: int) -> int:
    """Weights, without biases, of the two layers that would take this one's place."""
    rows, columns = layer_matrix(layer).shape
    return rank * (rows + columns)


def why_not_factored(layer: nn.Module) -> str:
    """Why this layer cannot be factored at all; empty where it can. A subclass may use its weights in its own way."""
    if type(layer) is nn.Linear:
        return ""
    if type(layer) is not nn.Conv2d:
        return f"{type(layer).__name__} is not factored"
    if layer.groups != 1:
        return f"a convolution in {layer.groups} groups has no one matrix"
    if layer.padding_mode != "zeros":
        return f"padding mode '{layer.padding_mode}' does not split"
    return ""


def factored_shell(layer: nn.Module, rank: int) -> nn.Sequential:
    """Two layers of this rank with the shapes of those that take the layer's place; their weights mean nothing.

    Raises:
        TypeError: The layer cannot be factored.
    """
    reason = why_not_factored(layer)
    if reason:
        raise TypeError(reason)
    if isinstance(layer, nn.Linear):
        first = nn.Linear(layer.in_features, rank, bias=False)
        return nn.Sequential(first, nn.Linear(rank, layer.out_features, bias=layer.bias is not None))
    if isinstance(layer, nn.Conv2d):
        return _pointwise_pair(layer, rank) if layer.kernel_size == (1, 1) else _spatial_pair(layer, rank)
    raise TypeError(f"{type(layer).__name__} is not factored")


@torch.no_grad()
def factored(layer: nn.Module, rank: int) -> nn.Sequential:
    """Two layers of this rank whose composition is the best approximation of the layer.

    Raises:
        TypeError: The layer cannot be factored.
    """
    matrix = layer_matrix(layer)
    shell = factored_shell(layer, rank).to(matrix.dtype).train(layer.training)
    left, right = matrix_factors(matrix, rank)
    weights = dict(shell.named_parameters())
    first, second = weights["0.weight"], weights["1.weight"]
    if isinstance(layer, nn.Conv2d) and layer.kernel_size != (1, 1):
        out_channels, _, _, width = layer.weight.shape
        first.copy_(left.T.reshape(first.shape))
        second.copy_(right.reshape(rank, width, out_channels).permute(2, 0, 1).reshape(second.shape))
    else:
        first.copy_(right.reshape(first.shape))
        second.copy_(left.reshape(second.shape))
    if "1.bias" in weights:
        weights["1.bias"].copy_(layer.get_parameter("bias"))
    return shell


def _pointwise_pair(layer: nn.Conv2d, rank: int) -> nn.Sequential:
    """Two 1 x 1 convolutions. The stride goes first: there is less to compute for the second."""
    stride, padding = (layer.stride[0], layer.stride[1]), _padding(layer)
    first = nn.Conv2d(layer.in_channels, rank, 1, stride=stride, padding=padding, bias=False)
    return nn.Sequential(first, nn.Conv2d(rank, layer.out_channels, 1, bias=layer.bias is not None))


def _spatial_pair(layer: nn.Conv2d, rank: int) -> nn.Sequential:
    """A convolution down the columns, then one along the rows."""
    (height, width), (stride_y, stride_x), (dilation_y, dilation_x) = layer.kernel_size, layer.stride, layer.dilation
    padding = _padding(layer)
    padding_y, padding_x = (padding, padding) if isinstance(padding, str) else ((padding[0], 0), (0, padding[1]))
    down = nn.Conv2d(
        layer.in_channels,
        rank,
        (height, 1),
        stride=(stride_y, 1),
        padding=padding_y,
        dilation=(dilation_y, 1),
        bias=False,
    )
    along = nn.Conv2d(
        rank,
        layer.out_channels,
        (1, width),
        stride=(1, stride_x),
        padding=padding_x,
        dilation=(1, dilation_x),
        bias=layer.bias is not None,
    )
    return nn.Sequential(down, along)


def _padding(layer: nn.Conv2d) -> str | tuple[int, int]:
    return layer.padding if isinstance(layer.padding, str) else (layer.padding[0], layer.padding[1])

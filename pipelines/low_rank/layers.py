"""Which layers of a network are factored, and the network with them factored."""

from __future__ import annotations

import copy
import math
from collections import Counter

from torch import Tensor, nn

from pipelines.errors import UnsupportedModelError
from pipelines.low_rank.factors import (
    factored,
    factored_weight_count,
    full_rank,
    layer_matrix,
    rank_of_energy,
    why_not_factored,
)
from pipelines.network import Factor, Network, output_shapes, replace_layer
from pipelines.rounding import rounded_share

# They read the weights of the linear layers in them past those layers' own forward.
_READERS_OF_WEIGHTS = (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer, nn.MultiheadAttention)


def factor_layers(
    network: Network,
    example_inputs: tuple[Tensor, ...],
    *,
    round_to: int,
    rank_fraction: float | None = None,
    energy: float | None = None,
) -> tuple[Network, dict[str, str]]:
    """The network with every layer factored that gets smaller by it.

    Args:
        network: Left as it is.
        example_inputs: Inputs of the model, with batch dimension 1.
        round_to: A rank is a multiple of this, and at least this, where the full rank is that high.
        rank_fraction: Rank that is kept, as a share of each layer's full rank.
        energy: Or: share of the energy of each layer's weights that is kept; the rank that it takes is rounded up.

    Returns:
        The factored network, or the very one that was given where no layer gets smaller; and for each layer with
        weights that was left alone, why.

    Raises:
        UnsupportedModelError: The model does not run with factored layers.
    """
    untouchable = _shared_layers(network.module) | _read_past_forward(network.module)
    edits: list[Factor] = []
    left_alone: dict[str, str] = {}
    for name, layer in network.module.named_modules():
        if not any(parameter.ndim > 1 for parameter in layer.parameters(recurse=False)):
            continue
        reason = untouchable.get(name) or why_not_factored(layer)
        if not reason:
            rank = _rank(layer, rank_fraction, energy, round_to)
            reason = _no_saving(layer, rank)
        if reason:
            left_alone[name] = reason
        else:
            edits.append(Factor(layer=name, rank=rank))
    if not edits:
        return network, left_alone
    module = copy.deepcopy(network.module)
    for edit in edits:
        replace_layer(module, edit.layer, factored(module.get_submodule(edit.layer), edit.rank))
    try:
        output_shapes(module, example_inputs)
    except Exception as error:
        message = f"the model does not run with factored layers: {error}"
        raise UnsupportedModelError(message, hint="leave low_rank out for this model") from error
    return Network(module=module, edits=(*network.edits, *edits)), left_alone


def _rank(layer: nn.Module, rank_fraction: float | None, energy: float | None, round_to: int) -> int:
    full = full_rank(layer)
    if energy is not None:
        return min(full, math.ceil(rank_of_energy(layer_matrix(layer), energy) / round_to) * round_to)
    if rank_fraction is None:
        raise ValueError("a rank needs a fraction or an energy")
    return rounded_share(full, rank_fraction, round_to)


def _no_saving(layer: nn.Module, rank: int) -> str:
    before = sum(parameter.numel() for parameter in layer.parameters(recurse=False) if parameter.ndim > 1)
    after = factored_weight_count(layer, rank)
    return "" if after < before else f"{after} weights at rank {rank} are no fewer than its {before}"


def _read_past_forward(module: nn.Module) -> dict[str, str]:
    """Layers whose weights another layer reads directly, and that reason."""
    return {
        f"{name}.{inner}" if name else inner: f"{type(reader).__name__} reads its weights directly"
        for name, reader in module.named_modules()
        if isinstance(reader, _READERS_OF_WEIGHTS)
        for inner, _ in reader.named_modules()
        if inner
    }


def _shared_layers(module: nn.Module) -> dict[str, str]:
    """Layers that have another name, or a weight that is also another layer's, and that reason."""
    layers = list(module.named_modules(remove_duplicate=False))
    layer_uses = Counter(id(layer) for _, layer in layers)
    weight_uses = Counter(id(parameter) for _, parameter in module.named_parameters(remove_duplicate=False))
    return {
        name: "it is used under more than one name"
        for name, layer in layers
        if layer_uses[id(layer)] > 1 or any(weight_uses[id(weight)] > 1 for weight in layer.parameters(recurse=False))
    }

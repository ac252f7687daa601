"""Removing channels of a network, with everything that depends on them."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from typing import Any, Literal

import torch
import torch_pruning
from torch import Tensor, nn
from torch_pruning.ops import TORCH_CONV, TORCH_LINEAR

from pipelines.errors import NothingChangedError, UnsupportedModelError
from pipelines.network import Network, output_shapes, resizes_between
from pipelines.rounding import rounded_share

Importance = Literal["l1", "l2", "random"]


def remove_channels(
    network: Network,
    example_inputs: tuple[Tensor, ...],
    *,
    amount: float,
    importance: Importance,
    round_to: int,
    seed: int,
) -> Network:
    """The network without the least important channels of every group of layers that depend on each other.

    Layers whose channels are outputs of the model are left whole. How many channels go from each group follows from
    the shapes alone; which ones go follows from the weights.

    Args:
        network: Left as it is.
        example_inputs: Inputs of the model, with batch dimension 1.
        amount: Share of channels that go, in (0, 1).
        importance: Norm by which a channel is ranked.
        round_to: What is left is a multiple of this, and at least this, where the group is that wide.
        seed: Of the random importance.

    Raises:
        NothingChangedError: No channel could go.
        UnsupportedModelError: The model cannot be traced, or does not run without the channels.
    """
    module = copy.deepcopy(network.module).eval()
    graph, expected = _traced(module, example_inputs)
    score = _scorer(importance, seed)
    groups = graph.get_all_groups(ignored_layers=_output_layers(graph), root_module_types=[TORCH_CONV, TORCH_LINEAR])
    # All are ranked before the first one changes: removing channels moves the indices of others behind a concatenation.
    ranked = [(group, score(group)) for group in groups]
    if not sum(_thin(graph, group, scores, amount, round_to) for group, scores in ranked):
        message = f"no group of layers has channels to spare at an amount of {amount:g}, rounded to {round_to}"
        raise NothingChangedError(message, hint="use a larger amount or a smaller round_to")
    try:
        shapes = output_shapes(module, example_inputs)
    except Exception as error:
        message = f"the model does not run without the removed channels: {error}"
        hint = "take sizes from tensors (x.flatten(1)), not from numbers, in the model's forward"
        raise UnsupportedModelError(message, hint=hint) from error
    if shapes != expected:
        raise UnsupportedModelError(f"removing channels changed the model's outputs from {expected} to {shapes}")
    module.train(network.module.training)
    return Network(module=module, edits=(*network.edits, *resizes_between(network.module, module)))


def _traced(module: nn.Module, example_inputs: tuple[Tensor, ...]) -> tuple[Any, list[tuple[int, ...]]]:
    """The dependencies between layers, and the shapes of the outputs."""

    def forward(model: nn.Module, inputs: tuple[Tensor, ...]) -> Any:
        return model(*inputs)

    # The graph is read off autograd, so every parameter must take part while it is traced.
    frozen = [parameter for parameter in module.parameters() if not parameter.requires_grad]
    for parameter in frozen:
        parameter.requires_grad_(True)
    try:
        shapes = output_shapes(module, example_inputs)
        with torch.enable_grad():
            graph = torch_pruning.DependencyGraph()
            graph.build_dependency(module, example_inputs, forward_fn=forward, verbose=False)
    except Exception as error:
        message = f"the dependencies between layers cannot be traced: {error}"
        raise UnsupportedModelError(message, hint="leave structured_prune and distill out for this model") from error
    finally:
        for parameter in frozen:
            parameter.requires_grad_(False)
    return graph, shapes


def _output_layers(graph: Any) -> list[nn.Module]:
    """The layers whose channels are outputs of the model, found by walking back from where the graph ends."""
    pending = [node for node in graph.module2node.values() if not node.outputs]
    seen = set()
    layers = []
    while pending:
        node = pending.pop()
        if node in seen:
            continue
        seen.add(node)
        if _makes_channels(node.module):
            layers.append(node.module)
        else:
            pending.extend(node.inputs)
    return layers


def _makes_channels(layer: Any) -> bool:
    """Whether the layer's outputs are channels of its own, not those that came in."""
    if isinstance(layer, TORCH_CONV):
        return bool(layer.groups == 1 or layer.groups != layer.out_channels)
    return isinstance(layer, TORCH_LINEAR | nn.RNNBase | nn.MultiheadAttention | nn.Embedding)


def _scorer(importance: Importance, seed: int) -> Callable[[Any], Tensor]:
    """A function from a group to the importance of each of its channels."""
    if importance == "random":
        generator = torch.Generator().manual_seed(seed)
        return lambda group: torch.rand(len(group[0].idxs), generator=generator)
    scorer = torch_pruning.importance.GroupMagnitudeImportance(p=1 if importance == "l1" else 2)

    def score(group: Any) -> Tensor:
        found = scorer(group)
        # A group without weights of a kind that can be ranked has no importance, and is left whole.
        return torch.empty(0) if found is None else found.detach()

    return score


def _thin(graph: Any, group: Any, scores: Tensor, amount: float, round_to: int) -> int:
    """Removes the least important channels of a group; returns how many went."""
    divisions = max(_channel_divisions(group), default=1)
    if len(scores) == 0 or len(scores) % divisions:
        return 0
    # Grouped convolution needs the same number in each division: channels at the same place in each go together.
    scores = scores.view(divisions, -1).mean(dim=0)
    kept = rounded_share(len(scores), 1 - amount, round_to // math.gcd(round_to, divisions))
    if kept >= len(scores):
        return 0
    losers = torch.argsort(scores, stable=True)[: len(scores) - kept]
    indices = torch.cat([losers + division * len(scores) for division in range(divisions)])
    root = group[0].dep
    thinned = graph.get_pruning_group(root.target.module, root.handler, sorted(indices.tolist()))
    if not graph.check_pruning_group(thinned):
        return 0
    thinned.prune()
    return len(indices)


def _channel_divisions(group: Any) -> Iterator[int]:
    for dependency, _ in group:
        layer = dependency.target.module
        if isinstance(layer, TORCH_CONV) and layer.groups > 1 and layer.groups != layer.out_channels:
            yield layer.groups
        elif isinstance(layer, nn.GroupNorm):
            yield layer.num_groups

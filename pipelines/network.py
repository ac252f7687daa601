"""A network: a model, and the structural edits that made it from the workload's own.

An edit is data. Replaying the edits on a fresh model gives the same layers, so that a changed architecture can be
stored as edits and weights, without its Python class.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field, TypeAdapter
from torch import Tensor, nn

from pipelines.errors import CheckpointError
from pipelines.low_rank.factors import factored_shell
from pipelines.strict import StrictModel


class Resize(StrictModel):
    """A layer whose tensors have other shapes: channels were removed."""

    kind: Literal["resize"] = "resize"
    # Qualified name of the layer; empty for the model itself.
    layer: str
    # Attributes that follow: ``out_channels``, ``num_features`` …
    attributes: dict[str, int | list[int]]
    # Shapes of the layer's own parameters and buffers, by name.
    shapes: dict[str, list[int]]


class Factor(StrictModel):
    """A layer that two layers of lower rank took the place of."""

    kind: Literal["factor"] = "factor"
    layer: str
    rank: Annotated[int, Field(ge=1)]


Edit = Annotated[Resize | Factor, Field(discriminator="kind")]
EDITS: TypeAdapter[tuple[Edit, ...]] = TypeAdapter(tuple[Edit, ...])


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A model and the edits that its structure came about by."""

    module: nn.Module
    edits: tuple[Resize | Factor, ...] = ()


def replay(module: nn.Module, edits: tuple[Resize | Factor, ...]) -> Network:
    """The module with the edits made to it, in place. Weights of edited layers mean nothing afterwards.

    Raises:
        CheckpointError: An edit names a layer that the module does not have, or does not fit it.
    """
    for edit in edits:
        try:
            _replay_one(module, edit)
        except (AttributeError, KeyError, TypeError, RuntimeError) as error:
            message = f"the edit of layer '{edit.layer}' does not fit this model: {error}"
            raise CheckpointError(
                message, hint="the workload's model() changed since the checkpoint was made"
            ) from error
    return Network(module=module, edits=edits)


@torch.no_grad()
def output_shapes(module: nn.Module, example_inputs: tuple[Tensor, ...]) -> list[tuple[int, ...]]:
    """Shapes of the model's outputs for these inputs."""
    outputs = module(*example_inputs)
    return [tuple(output.shape) for output in (outputs if isinstance(outputs, tuple | list) else (outputs,))]


def replace_layer(root: nn.Module, name: str, layer: nn.Module) -> None:
    """Puts a layer in the place of the one with this qualified name."""
    parent_name, _, child = name.rpartition(".")
    setattr(root.get_submodule(parent_name), child, layer)


def resizes_between(before: nn.Module, after: nn.Module) -> tuple[Resize, ...]:
    """The resizes that give each layer of ``before`` the shapes that it has in ``after``; both have the same layers."""
    originals = dict(before.named_modules())
    edits = []
    for name, layer in after.named_modules():
        original = originals[name]
        shapes = {key: list(tensor.shape) for key, tensor in _own_tensors(layer).items()}
        old_shapes = {key: list(tensor.shape) for key, tensor in _own_tensors(original).items()}
        old_attributes = _size_attributes(original)
        attributes = {k: v for k, v in _size_attributes(layer).items() if old_attributes.get(k) != v}
        if shapes != old_shapes or attributes:
            changed = {key: shape for key, shape in shapes.items() if old_shapes[key] != shape}
            edits.append(Resize(layer=name, attributes=attributes, shapes=changed))
    return tuple(edits)


def _replay_one(module: nn.Module, edit: Resize | Factor) -> None:
    layer = module.get_submodule(edit.layer)
    if isinstance(edit, Factor):
        replace_layer(module, edit.layer, factored_shell(layer, edit.rank))
        return
    for name, value in edit.attributes.items():
        setattr(layer, name, tuple(value) if isinstance(value, list) else value)
    for name, shape in edit.shapes.items():
        old = _own_tensors(layer)[name]
        new = torch.zeros(shape, dtype=old.dtype)
        setattr(
            layer, name, nn.Parameter(new, requires_grad=old.requires_grad) if isinstance(old, nn.Parameter) else new
        )


def _own_tensors(layer: nn.Module) -> dict[str, Tensor]:
    return {**dict(layer.named_parameters(recurse=False)), **dict(layer.named_buffers(recurse=False))}


def _size_attributes(layer: nn.Module) -> dict[str, int | list[int]]:
    """Public attributes that are whole numbers, or tuples of them."""
    sizes: dict[str, int | list[int]] = {}
    for name, value in vars(layer).items():
        if name.startswith("_") or isinstance(value, bool):
            continue
        if isinstance(value, int):
            sizes[name] = value
        elif isinstance(value, tuple) and value and all(type(part) is int for part in value):
            sizes[name] = list(value)
    return sizes

"""Checkpoints: structural edits and weights as bytes. No Python class is ever pickled."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from pipelines.errors import CheckpointError
from pipelines.network import EDITS, Network, replay
from pipelines.quiet import quietly

KIND = "fleetfit-checkpoint"
VERSION = 1


def save_checkpoint(network: Network) -> bytes:
    """The network as bytes: its edits as JSON, and its weights."""
    weights = {name: tensor.detach().clone() for name, tensor in network.module.state_dict().items()}
    buffer = io.BytesIO()
    edits = EDITS.dump_json(network.edits).decode()
    torch.save({"kind": KIND, "version": VERSION, "edits": edits, "weights": weights}, buffer)
    return buffer.getvalue()


def load_checkpoint(content: bytes, module: nn.Module) -> Network:
    """The network that was saved, made of a fresh model of the same workload, which is edited in place.

    Raises:
        CheckpointError: The bytes are no checkpoint, are of a later version, or of another model.
    """
    data = _read(io.BytesIO(content))
    if not isinstance(data, Mapping) or data.get("kind") != KIND:
        raise CheckpointError("these bytes are no fleetfit checkpoint")
    if data["version"] != VERSION:
        message = f"this checkpoint is of version {data['version']}, and version {VERSION} is understood"
        raise CheckpointError(message, hint="update fleetfit")
    try:
        edits = EDITS.validate_json(data["edits"])
    except ValidationError as error:
        raise CheckpointError(f"the checkpoint's edits cannot be read: {error.errors()[0]['msg']}") from error
    network = replay(module, edits)
    _fill(network.module, data["weights"], "the checkpoint")
    return network


def load_weights(path: Path, module: nn.Module) -> None:
    """Fills a model with weights that ``torch.save(model.state_dict(), path)`` wrote.

    Raises:
        CheckpointError: The file cannot be read, or its weights are of another model.
    """
    data = _read(path)
    if not isinstance(data, Mapping) or not all(isinstance(value, Tensor) for value in data.values()):
        message = f"{path}: holds no weights by name"
        raise CheckpointError(message, hint="write it with torch.save(model.state_dict(), path)")
    _fill(module, data, str(path))


def _read(source: Path | io.BytesIO) -> Any:
    try:
        with quietly():
            return torch.load(source, map_location="cpu", weights_only=True)
    except Exception as error:
        # On bytes that are something else, the unpickler stumbles in as many ways as there are bytes.
        place = f"{source}: " if isinstance(source, Path) else ""
        summary = str(error).strip().partition("\n")[0]
        raise CheckpointError(f"{place}no checkpoint can be read from it: {summary}") from error


def _fill(module: nn.Module, weights: Mapping[str, Tensor], origin: str) -> None:
    try:
        module.load_state_dict(dict(weights))
    except RuntimeError as error:
        # The first line only names the class; the differences follow.
        differences = [line.strip() for line in str(error).splitlines()[1:]]
        raise CheckpointError(f"{origin} is of another model: {differences[0] if differences else error}") from error

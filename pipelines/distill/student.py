"""The student: the user's own model, narrower."""

from __future__ import annotations

from torch import Tensor, nn

from pipelines.network import Network
from pipelines.prune.channels import remove_channels
from pipelines.seeding import seeded


def narrow_student(
    network: Network, example_inputs: tuple[Tensor, ...], *, width: float, round_to: int, seed: int
) -> Network:
    """The network with ``width`` of each layer's channels, the strongest ones.

    Raises:
        NothingChangedError: No layer would be narrower.
        UnsupportedModelError: The model cannot be traced, or does not run when it is narrower.
    """
    return remove_channels(network, example_inputs, amount=1 - width, importance="l2", round_to=round_to, seed=seed)


def reset_weights(module: nn.Module, *, seed: int) -> None:
    """Gives every layer new weights as when it was made, in place; a layer that knows no way keeps its own."""
    with seeded(seed):
        for layer in module.modules():
            reset = getattr(layer, "reset_parameters", None)
            if callable(reset):
                reset()

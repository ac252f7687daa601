"""Parameters and multiply-accumulate operations of a model."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


def parameter_count(module: nn.Module) -> int:
    """Trainable and frozen parameters, each counted once; buffers are none."""
    return sum(parameter.numel() for parameter in module.parameters())


def parameter_bytes(module: nn.Module) -> int:
    """Bytes that the parameters take."""
    return sum(parameter.numel() * parameter.element_size() for parameter in module.parameters())


def mac_count(module: nn.Module, example_inputs: tuple[Tensor, ...]) -> int:
    """Multiply-accumulate operations of convolutions and matrix products in one run with these inputs."""
    module.eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(*example_inputs)
    # The counter counts a multiplication and an addition as two.
    return int(counter.get_total_flops()) // 2

"""What training minimises while a student learns from a teacher."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pipelines.distill.loss import soft_target_loss
from pipelines.errors import UnsupportedModelError
from pipelines.training import Objective, TaskObjective
from pipelines.workload import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class DistillationObjective:
    """α·T²·KL(teacher ‖ student) + (1-α)·task loss."""

    task: Objective
    teacher: nn.Module
    temperature: float
    alpha: float

    def loss(self, inputs: tuple[Tensor, ...], outputs: Any, targets: Any) -> Tensor:
        """The loss of one batch, a scalar."""
        with torch.no_grad():
            answers = self.teacher(*inputs)
        soft = soft_target_loss(outputs, answers, self.temperature)
        if self.alpha == 1:
            return soft
        return self.alpha * soft + (1 - self.alpha) * self.task.loss(inputs, outputs, targets)


@torch.no_grad()
def distillation(
    workload: Workload, teacher: nn.Module, example_inputs: tuple[Tensor, ...], *, temperature: float, alpha: float
) -> DistillationObjective:
    """The objective, for a teacher whose outputs are class scores.

    Raises:
        UnsupportedModelError: The outputs are not one tensor of scores of at least two classes.
    """
    outputs = teacher(*example_inputs)
    if not isinstance(outputs, Tensor) or outputs.ndim < 2 or outputs.shape[1] < 2:
        shape = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        message = f"distill needs outputs that are class scores (batch, classes, …), and the model's are {shape}"
        raise UnsupportedModelError(message, hint="use structured_prune for this model")
    return DistillationObjective(task=TaskObjective(workload), teacher=teacher, temperature=temperature, alpha=alpha)

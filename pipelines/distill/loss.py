"""The loss of distillation, on plain tensors."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def soft_target_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T²·KL(softmax(teacher/T) ‖ softmax(student/T)), the mean over all positions.

    The factor T² keeps its gradients at the scale of the task loss's, whatever the temperature.

    Args:
        student: Class scores, ``(batch, classes, …)`` float.
        teacher: The same shape.
        temperature: T.
    """
    log_student = functional.log_softmax(student / temperature, dim=1)
    log_teacher = functional.log_softmax(teacher / temperature, dim=1)
    positions = student.numel() // student.shape[1]
    divergence = functional.kl_div(log_student, log_teacher, reduction="sum", log_target=True) / positions
    return divergence * temperature**2

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from pipelines.distill.loss import soft_target_loss
from pipelines.distill.objective import distillation
from pipelines.errors import UnsupportedModelError
from pipelines.workload import Workload

GENERATOR = torch.Generator().manual_seed(0)
STUDENT = torch.randn(6, 5, generator=GENERATOR)
TEACHER = torch.randn(6, 5, generator=GENERATOR)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_the_loss_is_the_one_of_the_paper(temperature: float) -> None:
    teacher = functional.softmax(TEACHER / temperature, dim=1)
    student = functional.softmax(STUDENT / temperature, dim=1)
    expected = temperature**2 * (teacher * (teacher / student).log()).sum(dim=1).mean()
    torch.testing.assert_close(soft_target_loss(STUDENT, TEACHER, temperature), expected)


def test_a_student_that_answers_as_its_teacher_has_no_loss() -> None:
    torch.testing.assert_close(soft_target_loss(TEACHER, TEACHER, 4.0), torch.tensor(0.0), atol=1e-6, rtol=0)


def test_every_position_of_a_map_counts_as_one_answer() -> None:
    student, teacher = STUDENT.T.reshape(1, 5, 6), TEACHER.T.reshape(1, 5, 6)
    torch.testing.assert_close(soft_target_loss(student, teacher, 2.0), soft_target_loss(STUDENT, TEACHER, 2.0))


@pytest.mark.parametrize("alpha", [0.3, 1.0])
def test_the_objective_weighs_the_teacher_against_the_task(stripes: Workload, alpha: float) -> None:
    inputs, targets = torch.randn(8, 1, 8, 8), torch.arange(8) % 4
    teacher, student = stripes.model().eval(), stripes.model().eval()
    objective = distillation(stripes, teacher, (inputs[:1],), temperature=3.0, alpha=alpha)
    outputs = student(inputs)
    soft = soft_target_loss(outputs, teacher(inputs), 3.0)
    expected = alpha * soft + (1 - alpha) * functional.cross_entropy(outputs, targets)
    found = objective.loss((inputs,), outputs, targets)
    torch.testing.assert_close(found, expected)
    found.backward()  # type: ignore[no-untyped-call]
    assert all(parameter.grad is None for parameter in teacher.parameters())


@pytest.mark.parametrize("shape", [(1, 1), (1,)])
def test_outputs_that_are_no_class_scores_are_refused(stripes: Workload, shape: tuple[int, ...]) -> None:
    class Other(torch.nn.Module):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return torch.zeros(shape)

    with pytest.raises(UnsupportedModelError, match="class scores"):
        distillation(stripes, Other(), (torch.zeros(1, 1, 8, 8),), temperature=4.0, alpha=0.5)

from __future__ import annotations

import torch
from torch import nn

from pipelines.distill.student import narrow_student, reset_weights
from pipelines.network import Network
from tests.fakes.workloads import ResidualStripes

IMAGE = (torch.zeros(1, 1, 8, 8),)


def _convolutions(module: nn.Module) -> list[nn.Conv2d]:
    return [layer for layer in module.modules() if isinstance(layer, nn.Conv2d)]


def test_a_student_has_its_share_of_every_layer_and_some_of_the_weights() -> None:
    teacher = Network(module=ResidualStripes().model().eval())
    student = narrow_student(teacher, IMAGE, width=0.25, round_to=4, seed=0)
    assert [layer.out_channels for layer in _convolutions(student.module)] == [4, 4, 4, 8, 8, 8]
    kernels = {tuple(kernel.flatten().tolist()) for kernel in _convolutions(teacher.module)[0].weight}
    assert all(tuple(kernel.flatten().tolist()) in kernels for kernel in _convolutions(student.module)[0].weight)


def test_new_weights_keep_the_shapes_and_follow_the_seed() -> None:
    student = narrow_student(Network(module=ResidualStripes().model()), IMAGE, width=0.5, round_to=4, seed=0).module
    before = [parameter.detach().clone() for parameter in student.parameters()]
    reset_weights(student, seed=1)
    first = [parameter.detach().clone() for parameter in student.parameters()]
    reset_weights(student, seed=1)
    assert [weight.shape for weight in first] == [weight.shape for weight in before]
    assert not torch.equal(first[0], before[0])
    assert all(torch.equal(*pair) for pair in zip(first, student.parameters(), strict=True))

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.checking import check_workload
from pipelines.compress import train_baseline
from pipelines.errors import CheckpointError, WorkloadError
from pipelines.loading import load_workload_source
from pipelines.workload import Workload

# Each method begins on a line of its own; the numbers below are those lines.
SOURCE = """\
import torch
from torch import nn

from pipelines import Training, Workload


class Mine(Workload):
    training = Training(epochs=3)

    def model(self):
        return nn.Linear(4, 2)

    def train_data(self):
        return torch.randn(8, 4), torch.arange(8) % 2

    def validation_data(self):
        return torch.randn(8, 4), torch.arange(8) % 2

    def example_input(self):
        return torch.zeros(1, 4)

    def loss(self, outputs, targets):
        return nn.functional.cross_entropy(outputs, targets)

    def metric(self, outputs, targets):
        return float((outputs.argmax(1) == targets).mean())

    def augment(self, inputs):
        return inputs
"""


def _workload(old: str = "", new: str = "") -> Workload:
    assert old in SOURCE
    return load_workload_source(SOURCE.replace(old, new, 1).encode(), "mine.py")


def test_a_workload_whose_parts_agree_passes(stripes: Workload) -> None:
    check_workload(_workload())
    check_workload(stripes)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("return nn.Linear(4, 2)", "return nn.Linear(4, 2, color='red')", "mine.py:11: model() raised TypeError"),
        ("return nn.Linear(4, 2)", "return None", "mine.py:10: model() returned a NoneType, not a torch.nn.Module"),
        ("return nn.Linear(4, 2)", "return nn.ReLU()", "mine.py:10: model() returned a module without parameters"),
        (
            "return nn.Linear(4, 2)",
            "return nn.Linear(5, 2)",
            "mine.py:10: the model's forward on example_input() raised RuntimeError",
        ),
        (
            "return torch.randn(8, 4), torch",
            "return 1 / 0, torch",
            "mine.py:14: train_data() raised ZeroDivisionError: division by zero",
        ),
        (
            "return torch.randn(8, 4), torch.arange(8) % 2",
            "return torch.randn(8, 4)",
            "mine.py:13: train_data() returned a Tensor",
        ),
        (
            "return torch.randn(8, 4), torch.arange(8) % 2",
            "return torch.randn(8, 4), 3",
            "mine.py:13: train_data() returned a tuple that is no pair",
        ),
        (
            "return torch.randn(8, 4), torch",
            "return torch.randn(9, 4), torch",
            "mine.py:13: train_data() returned tensors of 9 and 8 rows",
        ),
        (
            "return torch.randn(8, 4), torch.arange(8) % 2",
            "return torch.zeros(0, 4), torch.zeros(0)",
            "mine.py:13: train_data() returned no samples",
        ),
        (
            "return torch.randn(8, 4), torch",
            "return torch.randn(8, 3), torch",
            "mine.py:13: train_data() has inputs of shape (3,), and example_input() (4,)",
        ),
        (
            "return torch.randn(8, 4), torch",
            "return torch.randn(8, 4).double(), torch",
            "mine.py:13: train_data() has inputs of torch.float64",
        ),
        (
            "return torch.zeros(1, 4)",
            "return torch.zeros(4)",
            "mine.py:19: example_input() has shape (4,); its first dimension is the batch",
        ),
        ("return torch.zeros(1, 4)", "return [1, 2]", "mine.py:19: example_input() returned a list"),
        (
            "% 2",
            "* 5",
            "mine.py:23: loss() of outputs of shape (4, 2) and targets of shape (4,) raised IndexError: Target",
        ),
        (
            "return nn.functional.cross_entropy(outputs, targets)",
            "return outputs.sum(1)",
            "mine.py:22: loss() of outputs of shape (4, 2) and targets of shape (4,) returned (4,), not a scalar",
        ),
        (
            "return nn.functional.cross_entropy(outputs, targets)",
            "return outputs.sum() * float('nan')",
            "mine.py:22: loss() of outputs of shape (4, 2) and targets of shape (4,) returned nan",
        ),
        (
            "return nn.functional.cross_entropy(outputs, targets)",
            "return torch.ones(())",
            "mine.py:22: the gradient of loss() raised RuntimeError",
        ),
        (
            "return float((outputs.argmax(1) == targets).mean())",
            "return float('nan')",
            "mine.py:25: metric() returned nan",
        ),
        (
            "return float((outputs.argmax(1) == targets).mean())",
            "return 'good'",
            "mine.py:25: metric() returned 'good'",
        ),
        (
            "return float((outputs.argmax(1) == targets).mean())",
            "return outputs.missing",
            "mine.py:26: metric() raised AttributeError",
        ),
        ("        return inputs", "        return inputs + 'x'", "mine.py:29: augment() raised TypeError"),
        ("Training(epochs=3)", "Training(epochs=0)", "mine.py:7: Training.epochs is 0"),
        ("Training(epochs=3)", "Training(learning_rate=-1.0)", "mine.py:7: Training.learning_rate is -1.0"),
        ("Training(epochs=3)", "Training(optimizer='lion')", "mine.py:7: Training.optimizer is 'lion'"),
        ("Training(epochs=3)", "{'epochs': 3}", "mine.py:7: 'training' is a dict"),
    ],
)
def test_each_mistake_has_file_and_line(old: str, new: str, message: str) -> None:
    with pytest.raises(WorkloadError) as caught:
        check_workload(_workload(old, new))
    assert str(caught.value).startswith(message)


def test_training_the_baseline_checks_first() -> None:
    with pytest.raises(WorkloadError, match=r"^mine\.py:10: model\(\) returned a NoneType"):
        train_baseline(_workload("return nn.Linear(4, 2)", "return None"), seed=0)
    silent = _workload("return float((outputs.argmax(1) == targets).mean())", "return float('nan')")
    with pytest.raises(WorkloadError, match=r"^mine\.py:25: metric\(\) returned nan"):
        train_baseline(silent, seed=0)


def test_a_checkpoint_that_is_not_there_is_found_before_anything_is_trained(tmp_path: Path) -> None:
    absent = tmp_path / "absent.pt"
    with pytest.raises(CheckpointError, match=r"absent\.pt: no checkpoint can be read"):
        check_workload(_workload("training = Training(epochs=3)", f"checkpoint = {str(absent)!r}"))

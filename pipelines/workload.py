"""A workload: what a user brings, as one class in one Python file."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import Dataset

# One input of a model, or several.
Inputs: TypeAlias = Tensor | tuple[Tensor, ...]
# Samples: a map-style dataset whose items are (inputs, target), or a pair of tensors (inputs, targets) with one row a
# sample. A model with several inputs has a tuple of tensors in place of the inputs.
Data: TypeAlias = Dataset[Any] | tuple[Inputs, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """How a model is trained. The learning rate rises over the first steps and falls to zero along a cosine."""

    epochs: int = 10
    batch_size: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    optimizer: Literal["adamw", "sgd"] = "adamw"
    # Of SGD.
    momentum: float = 0.9
    # After a pass. None: half of the epochs.
    fine_tune_epochs: int | None = None
    # After a pass. None: the full learning rate, which finds its way back better than a small one (Renda, Frankle,
    # Carbin: Comparing Rewinding and Fine-tuning in Neural Network Pruning, 2020).
    fine_tune_learning_rate: float | None = None

    @property
    def epochs_after_a_pass(self) -> int:
        """Epochs of retraining after passes."""
        return max(1, self.epochs // 2) if self.fine_tune_epochs is None else self.fine_tune_epochs

    @property
    def learning_rate_after_a_pass(self) -> float:
        """Learning rate of retraining after passes."""
        return self.learning_rate if self.fine_tune_learning_rate is None else self.fine_tune_learning_rate


class Workload(ABC):
    """A model with its data, loss and metric.

    A workload file holds one subclass, which is made without arguments. Four methods must be there; the loss and the
    metric have defaults for classification.
    """

    # What ``metric`` is called in tables and reports.
    metric_name: ClassVar[str] = "accuracy"
    training: ClassVar[Training] = Training()
    # A file of trained weights: what ``torch.save(model.state_dict(), …)`` wrote. Where it is given, the baseline is
    # not trained. It must be there, under this path, on each machine that trains.
    checkpoint: ClassVar[Path | str | None] = None

    @abstractmethod
    def model(self) -> nn.Module:
        """The untrained model, the same layers each time."""

    @abstractmethod
    def train_data(self) -> Data:
        """Samples to train with."""

    @abstractmethod
    def validation_data(self) -> Data:
        """Samples that are never trained with: every accuracy that is reported is on these."""

    @abstractmethod
    def example_input(self) -> Inputs:
        """One input of the model with batch dimension 1; a tuple where the model takes several."""

    def loss(self, outputs: Any, targets: Any) -> Tensor:
        """What training minimises, a scalar. Default: cross-entropy of class scores ``(batch, classes, …)``."""
        return functional.cross_entropy(outputs, targets)

    def metric(self, outputs: Any, targets: Any) -> float:
        """How good outputs are, higher is better. Default: the share of samples whose highest score is the target.

        Args:
            outputs: NumPy array of all validation outputs, ``(samples, …)``; a tuple where the model has several.
            targets: NumPy array of all validation targets.
        """
        return float((np.argmax(outputs, axis=1) == targets).mean())

    def augment(self, inputs: Any) -> Any:
        """Training inputs, changed at random for each batch. Default: as they are."""
        return inputs


def as_tuple(inputs: Inputs) -> tuple[Tensor, ...]:
    """The inputs of a model as a tuple, whether it takes one or several."""
    return (inputs,) if isinstance(inputs, torch.Tensor) else tuple(inputs)

"""The one training loop: of the baseline, after pruning, in distillation."""

from __future__ import annotations

import copy
import math
import time
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from pipelines.blame import definition_line, user_code, workload_file
from pipelines.errors import TrainingDivergedError
from pipelines.evaluation.accuracy import network_accuracy
from pipelines.observer import Observer
from pipelines.samples import Batch, Samples
from pipelines.workload import Workload, as_tuple

# Share of the steps over which the learning rate rises.
WARM_UP_FRACTION = 0.1
# How often training may go back to its best state, and by what the learning rate falls each time.
ROLLBACKS = 3
ROLLBACK_FACTOR = 0.1
# Samples that the statistics of batch normalization are taken from.
STATISTICS_SAMPLES = 2048


class Objective(Protocol):
    """What training minimises."""

    def loss(self, inputs: tuple[Tensor, ...], outputs: Any, targets: Any) -> Tensor:
        """The loss of one batch, a scalar."""


class Constraint(Protocol):
    """What must hold of the weights while they are trained."""

    def hold(self, module: nn.Module, progress: float) -> None:
        """Makes it hold again, in place, after this share of the training; called after each step."""


@dataclass(frozen=True, slots=True)
class TaskObjective:
    """The workload's own loss."""

    workload: Workload

    def loss(self, inputs: tuple[Tensor, ...], outputs: Any, targets: Any) -> Tensor:
        """The loss of one batch, a scalar."""
        with user_code(self.workload, "loss()", method="loss"):
            return self.workload.loss(outputs, targets)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How long and how fast one training goes."""

    epochs: int
    learning_rate: float

    def rate(self, progress: float) -> float:
        """The learning rate after this share of the training: a short rise, then a cosine down to zero."""
        if progress < WARM_UP_FRACTION:
            return self.learning_rate * progress / WARM_UP_FRACTION
        rest = (progress - WARM_UP_FRACTION) / (1 - WARM_UP_FRACTION)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * rest))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """One step of the optimizer."""

    rate: float
    # Share of the training that is over after it.
    progress: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What a training came to."""

    accuracy: float
    train_s: float
    # Times that the loss stopped being a number and the best state was restored.
    rollbacks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Trainer:
    """Trains models of one workload on its data."""

    workload: Workload
    train_samples: Samples
    validation_samples: Samples
    observer: Observer

    def train(
        self,
        module: nn.Module,
        *,
        objective: Objective,
        schedule: Schedule,
        name: str,
        constraint: Constraint | None = None,
    ) -> Trained:
        """Trains a model in place. It is in evaluation mode afterwards, and the constraint holds.

        The state after the last epoch is kept: nothing is chosen by validation data, which stays a fair judge. Where
        the loss stops being a number, the state with the lowest training loss comes back, and the rest goes on more
        slowly.

        Raises:
            TrainingDivergedError: The loss stopped being a number once more than it may.
            WorkloadError: The user's code raised.
        """
        started = time.monotonic()
        best_loss, best_state = math.inf, copy.deepcopy(module.state_dict())
        optimizer = self._optimizer(module)
        speed, rollbacks, epoch, accuracy = 1.0, 0, 0, math.nan
        while epoch < schedule.epochs:
            loss = self._epoch(module, objective, optimizer, self._steps(schedule, epoch, speed), constraint)
            if not math.isfinite(loss):
                rollbacks += 1
                if rollbacks > ROLLBACKS:
                    raise self._diverged(name, epoch, schedule, speed)
                module.load_state_dict(best_state)
                optimizer, speed = self._optimizer(module), speed * ROLLBACK_FACTOR
                continue
            if loss < best_loss:
                best_loss, best_state = loss, copy.deepcopy(module.state_dict())
            epoch += 1
            accuracy = network_accuracy(module, self.workload, self.validation_samples, self.observer)
            self.observer.epoch(name, epoch, schedule.epochs, loss, accuracy)
        module.eval()
        return Trained(accuracy=accuracy, train_s=time.monotonic() - started, rollbacks=rollbacks)

    def reestimate_batch_norm(self, module: nn.Module) -> None:
        """Takes the statistics of batch normalization anew, in place, without changing weights.

        After a structural change, the old ones are of sums that are no longer formed. Without such layers, nothing
        happens.

        Raises:
            WorkloadError: The user's code raised.
        """
        layers = [layer for layer in module.modules() if isinstance(layer, _BatchNorm) and layer.track_running_stats]
        if not layers:
            return
        momenta = [layer.momentum for layer in layers]
        for layer in layers:
            layer.reset_running_stats()
            # None: the plain mean over all batches.
            layer.momentum = None
        # Only these layers learn from the batches: dropout, where there is some, stays off.
        module.eval()
        for layer in layers:
            layer.train()
        try:
            self._run_batches(module, STATISTICS_SAMPLES)
        finally:
            module.eval()
            for layer, momentum in zip(layers, momenta, strict=True):
                layer.momentum = momentum

    @torch.no_grad()
    def _run_batches(self, module: nn.Module, count: int) -> None:
        seen = 0
        for batch in self.train_samples.shuffled_batches(self.workload.training.batch_size):
            if seen >= count:
                return
            self.observer.checkpoint()
            with user_code(self.workload, "the model's forward", method="model"):
                module(*batch.inputs)
            seen += len(batch)

    def _epoch(
        self,
        module: nn.Module,
        objective: Objective,
        optimizer: torch.optim.Optimizer,
        steps: list[_Step],
        constraint: Constraint | None,
    ) -> float:
        """Mean training loss of one epoch; not a number as soon as a loss, or in the end a weight, is not."""
        module.train()
        total, count = 0.0, 0
        batches = self.train_samples.shuffled_batches(self.workload.training.batch_size)
        for batch, step in zip(batches, steps, strict=False):
            self.observer.checkpoint()
            for group in optimizer.param_groups:
                group["lr"] = step.rate
            loss = self._loss(module, objective, batch)
            value = float(loss.detach())
            if not math.isfinite(value):
                return math.nan
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            if constraint is not None:
                constraint.hold(module, step.progress)
            total, count = total + value * len(batch), count + len(batch)
        if constraint is not None:
            # A last batch of a single sample is left out: what belongs to the end of the epoch is made up for.
            constraint.hold(module, steps[-1].progress)
        healthy = all(bool(torch.isfinite(parameter).all()) for parameter in module.parameters())
        return total / count if healthy else math.nan

    def _loss(self, module: nn.Module, objective: Objective, batch: Batch) -> Tensor:
        with user_code(self.workload, "augment()", method="augment"):
            augmented = self.workload.augment(batch.inputs if len(batch.inputs) > 1 else batch.inputs[0])
        inputs = as_tuple(augmented)
        with user_code(self.workload, "the model's forward", method="model"):
            outputs = module(*inputs)
        return objective.loss(inputs, outputs, batch.targets)

    def _steps(self, schedule: Schedule, epoch: int, speed: float) -> list[_Step]:
        """The steps of an epoch."""
        steps = math.ceil(len(self.train_samples) / self.workload.training.batch_size)
        total = steps * schedule.epochs
        first = epoch * steps
        return [
            _Step(rate=speed * schedule.rate((step + 0.5) / total), progress=(step + 1) / total)
            for step in range(first, first + steps)
        ]

    def _optimizer(self, module: nn.Module) -> torch.optim.Optimizer:
        settings = self.workload.training
        trainable = [parameter for parameter in module.parameters() if parameter.requires_grad]
        # Biases and normalization are vectors, and do not decay.
        groups = [
            {"params": [weight for weight in trainable if weight.ndim > 1], "weight_decay": settings.weight_decay},
            {"params": [vector for vector in trainable if vector.ndim <= 1], "weight_decay": 0.0},
        ]
        if settings.optimizer == "sgd":
            nesterov = settings.momentum > 0
            return torch.optim.SGD(groups, lr=settings.learning_rate, momentum=settings.momentum, nesterov=nesterov)
        return torch.optim.AdamW(groups, lr=settings.learning_rate)

    def _diverged(self, name: str, epoch: int, schedule: Schedule, speed: float) -> TrainingDivergedError:
        kind = type(self.workload)
        return TrainingDivergedError(
            f"{workload_file(kind)}:{definition_line(kind)}: the loss stopped being a number in epoch {epoch + 1} of "
            f"{schedule.epochs} of {name}, {ROLLBACKS + 1} times, at last with a learning rate of "
            f"{schedule.learning_rate * speed:g}",
            hint="lower Training.learning_rate, and look for a logarithm or a division by zero in the loss or the data",
        )

"""Checking a workload: each of its methods is run once on a tiny batch, before hours are spent on it."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import torch
from torch import Tensor, nn

from pipelines.blame import blamed, definition_line, user_code
from pipelines.checkpoint import load_weights
from pipelines.errors import WorkloadError
from pipelines.evaluation.accuracy import batch_metric
from pipelines.samples import Batch, Samples
from pipelines.seeding import seeded
from pipelines.workload import Training, Workload, as_tuple

TINY_BATCH = 4
_OPTIMIZERS = ("adamw", "sgd")


def check_workload(workload: Workload) -> None:
    """Returns if the workload's methods exist, agree with each other, and run.

    Raises:
        WorkloadError: One of them does not; names file and line.
        CheckpointError: The workload's checkpoint cannot be read, or is of another model.
    """
    with seeded(0):
        module = checked_model(workload)
        check_agreement(workload, module, Samples(workload, "train_data"), Samples(workload, "validation_data"))
        if workload.checkpoint is not None:
            load_weights(Path(workload.checkpoint), module)


def checked_model(workload: Workload) -> nn.Module:
    """The workload's model, untrained.

    Raises:
        WorkloadError: There is none, or nothing in it to train; names file and line.
    """
    with user_code(workload, "model()", method="model"):
        module = workload.model()
    if not isinstance(module, nn.Module):
        raise _wrong(workload, "model", f"model() returned a {type(module).__name__}, not a torch.nn.Module")
    if not any(parameter.requires_grad for parameter in module.parameters()):
        raise _wrong(workload, "model", "model() returned a module without parameters to train")
    return module


def check_agreement(workload: Workload, module: nn.Module, train_samples: Samples, validation_samples: Samples) -> None:
    """Returns if model, data, loss, metric and training fit together. The module is left as it is.

    Raises:
        WorkloadError: They do not; names file and line.
    """
    with seeded(0):
        trial = copy.deepcopy(module)
        _check_training(workload)
        example_inputs = _checked_example(workload)
        train_batch, validation_batch = train_samples.spread(TINY_BATCH), validation_samples.spread(TINY_BATCH)
        _check_inputs(workload, "train_data", train_batch, example_inputs)
        _check_inputs(workload, "validation_data", validation_batch, example_inputs)
        with user_code(workload, "the model's forward on example_input()", method="model"), torch.no_grad():
            trial.eval()(*example_inputs)
        _check_loss(workload, trial, train_batch)
        batch_metric(trial, workload, validation_batch)


def _check_training(workload: Workload) -> None:
    training = workload.training
    kind = type(workload)
    if not isinstance(training, Training):
        raise _wrong(workload, "", f"'training' is a {type(training).__name__}, not a Training")
    counts = {
        "epochs": training.epochs,
        "batch_size": training.batch_size,
        "fine_tune_epochs": training.fine_tune_epochs,
    }
    for name, count in counts.items():
        if count is not None and (not isinstance(count, int) or count < 1):
            raise blamed(
                kind, definition_line(kind), f"Training.{name} is {count!r}; it must be a whole number above 0"
            )
    rates = {"learning_rate": training.learning_rate, "fine_tune_learning_rate": training.fine_tune_learning_rate}
    for name, rate in rates.items():
        if rate is not None and not 0 < rate < math.inf:
            raise blamed(kind, definition_line(kind), f"Training.{name} is {rate!r}; it must be above 0")
    if training.optimizer not in _OPTIMIZERS:
        known = " and ".join(_OPTIMIZERS)
        raise blamed(kind, definition_line(kind), f"Training.optimizer is {training.optimizer!r}; known are {known}")


def _checked_example(workload: Workload) -> tuple[Tensor, ...]:
    with user_code(workload, "example_input()", method="example_input"):
        example = workload.example_input()
    if not isinstance(example, Tensor | tuple) or not all(isinstance(part, Tensor) for part in as_tuple(example)):
        message = f"example_input() returned a {type(example).__name__}, not a tensor or a tuple of tensors"
        raise _wrong(workload, "example_input", message)
    for part in as_tuple(example):
        if part.ndim == 0 or part.shape[0] != 1:
            message = f"example_input() has shape {tuple(part.shape)}; its first dimension is the batch, and must be 1"
            raise _wrong(workload, "example_input", message)
    return as_tuple(example)


def _check_inputs(workload: Workload, method: str, batch: Batch, example_inputs: tuple[Tensor, ...]) -> None:
    if len(batch.inputs) != len(example_inputs):
        message = f"{method}() has {len(batch.inputs)} inputs a sample, and example_input() {len(example_inputs)}"
        raise _wrong(workload, method, message)
    for given, example in zip(batch.inputs, example_inputs, strict=True):
        if given.shape[1:] != example.shape[1:]:
            shapes = f"inputs of shape {tuple(given.shape[1:])}, and example_input() {tuple(example.shape[1:])}"
            raise _wrong(workload, method, f"{method}() has {shapes}")
        if given.dtype != example.dtype:
            raise _wrong(
                workload, method, f"{method}() has inputs of {given.dtype}, and example_input() {example.dtype}"
            )


def _check_loss(workload: Workload, module: nn.Module, batch: Batch) -> None:
    module.train()
    with user_code(workload, "augment()", method="augment"):
        inputs = as_tuple(workload.augment(batch.inputs if len(batch.inputs) > 1 else batch.inputs[0]))
    with user_code(workload, "the model's forward on a training batch", method="model"):
        outputs = module(*inputs)
    shapes = f"outputs of shape {_shape(outputs)} and targets of shape {_shape(batch.targets)}"
    with user_code(workload, f"loss() of {shapes}", method="loss"):
        loss = workload.loss(outputs, batch.targets)
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        raise _wrong(workload, "loss", f"loss() of {shapes} returned {_shape(loss)}, not a scalar tensor")
    if not math.isfinite(float(loss.detach())):
        raise _wrong(workload, "loss", f"loss() of {shapes} returned {float(loss.detach())}")
    with user_code(workload, "the gradient of loss()", method="loss"):
        loss.backward()  # type: ignore[no-untyped-call]


def _wrong(workload: Workload, method: str, message: str) -> WorkloadError:
    kind = type(workload)
    return blamed(kind, definition_line(kind, method), message)


def _shape(value: object) -> str:
    return str(tuple(value.shape)) if isinstance(value, Tensor) else type(value).__name__

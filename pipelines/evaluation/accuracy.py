"""Accuracy: the workload's metric over all validation samples, of a model or of the file that a device runs."""

from __future__ import annotations

import math
import numbers
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pipelines.blame import blamed, definition_line, user_code
from pipelines.evaluation.runtime import open_artifact
from pipelines.export.artifact import Artifact
from pipelines.observer import Observer
from pipelines.samples import Batch, Samples
from pipelines.workload import Workload

BATCH_SIZE = 256
# The artifact runs one sample at a time; the observer is asked after this many.
SAMPLES_BETWEEN_CHECKPOINTS = 64


def network_accuracy(module: nn.Module, workload: Workload, samples: Samples, observer: Observer) -> float:
    """The metric of a model. It is in evaluation mode afterwards.

    Raises:
        WorkloadError: The user's code raised, or its metric is no number.
    """
    outputs: list[tuple[Any, ...]] = []
    targets: list[Any] = []
    for batch in samples.batches(BATCH_SIZE):
        observer.checkpoint()
        outputs.append(_outputs(module, workload, batch))
        targets.append(_array(batch.targets))
    return _metric(workload, outputs, targets)


def batch_metric(module: nn.Module, workload: Workload, batch: Batch) -> float:
    """The metric of a model on a single batch. It is in evaluation mode afterwards.

    Raises:
        WorkloadError: The user's code raised, or its metric is no number.
    """
    return _metric(workload, [_outputs(module, workload, batch)], [_array(batch.targets)])


def artifact_accuracy(artifact: Artifact, workload: Workload, samples: Samples, observer: Observer) -> float:
    """The metric of an artifact, run by the runtime of this machine one sample at a time, as a device runs it.

    Raises:
        ExportError: The artifact does not run here.
        WorkloadError: The user's code raised, or its metric is no number.
    """
    session = open_artifact(artifact)
    outputs: list[tuple[Any, ...]] = []
    targets: list[Any] = []
    for batch in samples.batches(SAMPLES_BETWEEN_CHECKPOINTS):
        observer.checkpoint()
        arrays = [tensor.numpy() for tensor in batch.inputs]
        outputs.extend(session.run([array[row : row + 1] for array in arrays]) for row in range(len(batch)))
        targets.append(_array(batch.targets))
    return _metric(workload, outputs, targets)


@torch.no_grad()
def _outputs(module: nn.Module, workload: Workload, batch: Batch) -> tuple[Any, ...]:
    module.eval()
    with user_code(workload, "the model's forward", method="model"):
        found = module(*batch.inputs)
    return tuple(_array(part) for part in (found if isinstance(found, tuple | list) else (found,)))


def _metric(workload: Workload, outputs: list[tuple[Any, ...]], targets: list[Any]) -> float:
    columns = tuple(np.concatenate(column) for column in zip(*outputs, strict=True))
    with user_code(workload, "metric()", method="metric"):
        value = workload.metric(columns[0] if len(columns) == 1 else columns, _joined(targets))
    if not isinstance(value, numbers.Real) or math.isnan(value):
        kind = type(workload)
        line = definition_line(kind, "metric")
        raise blamed(kind, line, f"metric() returned {value!r}", hint="return one number, higher is better")
    return float(value)


def _joined(targets: list[Any]) -> Any:
    if isinstance(targets[0], tuple):
        return tuple(np.concatenate(column) for column in zip(*targets, strict=True))
    return np.concatenate(targets)


def _array(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().numpy()
    if isinstance(value, tuple | list):
        return tuple(_array(part) for part in value)
    return np.asarray(value)

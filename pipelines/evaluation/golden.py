"""Golden inputs and outputs: what an artifact must reproduce wherever it runs."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.evaluation.runtime import open_artifact
from pipelines.export.artifact import Artifact
from pipelines.samples import Batch


def golden_npz(artifact: Artifact, batch: Batch) -> bytes:
    """Reference inputs, and the artifact's own outputs for them as this machine's runtime computes them.

    One ``.npz`` without pickled objects: arrays ``input_0`` …, ``output_0`` …, each ``(samples, …)``. The artifact
    takes one sample at a time: row ``n`` of the inputs, as a batch of one, gives row ``n`` of the outputs. The same
    artifact and samples give the same bytes.

    Raises:
        ExportError: The artifact does not run here.
    """
    session = open_artifact(artifact)
    inputs = [tensor.numpy() for tensor in batch.inputs]
    rows = [session.run([array[row : row + 1] for array in inputs]) for row in range(len(batch))]
    arrays: dict[str, NDArray[Any]] = {f"input_{index}": array for index, array in enumerate(inputs)}
    for index, column in enumerate(zip(*rows, strict=True)):
        arrays[f"output_{index}"] = np.concatenate(column)
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()

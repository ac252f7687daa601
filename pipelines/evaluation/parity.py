"""Parity: an exported file computes what the model computes, on real inputs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import nn

from pipelines.errors import ParityError
from pipelines.evaluation.runtime import open_artifact
from pipelines.export.artifact import Artifact
from pipelines.samples import Batch
from pipelines.tolerance import FLOAT_TOLERANCE


@torch.no_grad()
def check_parity(module: nn.Module, artifact: Artifact, batch: Batch) -> float:
    """The largest difference between model and artifact, as a share of the outputs' largest magnitude.

    Raises:
        ParityError: It is above the tolerance for floating point.
        ExportError: The artifact does not run here.
    """
    module.eval()
    session = open_artifact(artifact)
    worst = 0.0
    for row in range(len(batch)):
        inputs = tuple(tensor[row : row + 1] for tensor in batch.inputs)
        outputs = module(*inputs)
        expected = [part.numpy() for part in (outputs if isinstance(outputs, tuple | list) else (outputs,))]
        found = session.run([tensor.numpy() for tensor in inputs])
        worst = max([worst, *(_difference(*pair) for pair in zip(expected, found, strict=True))])
    if not worst <= FLOAT_TOLERANCE:
        raise ParityError(
            f"the {artifact.format} file's outputs differ from the model's by {worst:.2g} of their largest magnitude; "
            f"at most {FLOAT_TOLERANCE:g} is allowed",
            hint="the model may behave differently when traced: no randomness, no Python conditions on values",
        )
    return worst


def _difference(expected: Any, found: Any) -> float:
    if expected.shape != found.shape:
        raise ParityError(f"the exported file's outputs have shape {found.shape}, the model's {expected.shape}")
    expected, found = expected.astype(np.float64), found.astype(np.float64)
    with np.errstate(invalid="ignore"):
        gaps = np.abs(expected - found)
    # Infinities that agree have no gap between them, and neither have two that are no number.
    gaps[(expected == found) | (np.isnan(expected) & np.isnan(found))] = 0
    magnitude = np.abs(expected[np.isfinite(expected)]).max(initial=0.0)
    worst = float(gaps.max(initial=0.0)) / (float(magnitude) or 1.0)
    return worst if math.isfinite(worst) else math.inf

"""Rows of weights as integers with a scale: plain functions on arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import UnsupportedModelError

# Shares of a row's largest magnitude that are tried as the end of the range: with few bits, clipping one outlier
# serves all the others.
_CLIPS = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7)


def quantized_rows(rows: NDArray[Any], *, bits: int) -> tuple[NDArray[np.int8], NDArray[np.float16]]:
    """Signed integers and a scale for each row, whose products come nearest to the row in the squared mean.

    Zero stays zero.

    Args:
        rows: ``(rows, columns) float32``.
        bits: Of an integer; its range is symmetric.

    Returns:
        ``(rows, columns)`` and ``(rows,)``.

    Raises:
        UnsupportedModelError: A scale is too large for float16.
    """
    limit = 2 ** (bits - 1) - 1
    largest = np.abs(rows).max(axis=1)
    best_integers = np.zeros(rows.shape, dtype=np.int8)
    best_scales = np.ones(len(rows), dtype=np.float16)
    best_errors = np.full(len(rows), np.inf)
    for clip in _CLIPS:
        with np.errstate(over="ignore"):
            scales = (largest * clip / limit).astype(np.float16)
        if np.isinf(scales).any():
            raise UnsupportedModelError(f"a weight of {largest.max():g} needs a scale that float16 does not have")
        # A row of zeros, or of numbers next to zero, has any scale.
        scales[scales == 0] = 1
        wide = scales.astype(np.float32)[:, None]
        integers = np.clip(np.round(rows / wide), -limit, limit)
        errors = np.square(integers * wide - rows).mean(axis=1, dtype=np.float64)
        better = errors < best_errors
        best_integers[better], best_scales[better], best_errors[better] = (
            integers[better].astype(np.int8),
            scales[better],
            errors[better],
        )
    return best_integers, best_scales

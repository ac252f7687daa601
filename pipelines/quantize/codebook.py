"""Codebooks of weights: plain functions on arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# More rounds than k-means needs on the weights of any layer; it ends when nothing moves.
MAXIMUM_ROUNDS = 100


def codebook_of(weight: NDArray[Any], *, size: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """The values that k-means finds for the weights, in ascending order, and the number of each weight's value.

    Centres start evenly spread over the range, which keeps values for the few large weights; zero is a value of its
    own and never moves, so that weights that are zero stay zero.

    Args:
        weight: float32, any shape.
        size: Number of values, at most 256.

    Returns:
        ``(size,)``, and numbers in the weight's shape.
    """
    ascending = np.sort(weight.ravel()).astype(np.float64)
    sums = np.concatenate([[0.0], np.cumsum(ascending)])
    centres = np.linspace(ascending[0], ascending[-1], size)
    zero = int(np.abs(centres).argmin())
    centres[zero] = 0.0
    centres.sort()
    zero = int(np.flatnonzero(centres == 0)[0])
    for _ in range(MAXIMUM_ROUNDS):
        borders = np.searchsorted(ascending, (centres[1:] + centres[:-1]) / 2, side="right")
        starts, ends = np.concatenate([[0], borders]), np.concatenate([borders, [len(ascending)]])
        counts = ends - starts
        means = np.where(counts > 0, (sums[ends] - sums[starts]) / np.maximum(counts, 1), centres)
        means[zero] = 0.0
        means.sort()
        if np.array_equal(means, centres):
            break
        centres = means
    codebook = centres.astype(np.float32)
    middles = (codebook[1:].astype(np.float64) + codebook[:-1]) / 2
    return codebook, np.searchsorted(middles, weight, side="left").astype(np.uint8)

"""What training would yield, foretold from the trainings so far: a Gaussian process over the structures of candidates.

Accuracy is taken for a level, a rise with capacity and with each width, a smooth remainder, an offset for each kind of
weights, and what no structure explains (the luck of a training, which its files share). How strong each of these is, is
not known beforehand: the process is evaluated under a grid of strengths, and each counts by how well it explains what
was seen. With nothing seen, this is a prior that accuracy rises with capacity and that the floor is somewhere within
reach; that is what the first choices rest on.

Source: C. E. Rasmussen and C. K. I. Williams, "Gaussian Processes for Machine Learning", 2006, chapters 2 and 5. We
differ in averaging over a few strengths in place of maximising, because after three trainings the maximum is certain of
things that nobody can know.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

# Standard deviations of accuracy over the space, and shares of its variance. Each combination is one hypothesis.
_SPREADS = np.geomspace(0.004, 0.35, 9)
_REMAINDERS = (0.1, 0.4)
_LENGTHS = (1.0, 2.5)
_LUCKS = (0.003, 0.02, 0.1)
# The rise with capacity and with the mean width, in spreads for a standard deviation of either.
_RISE = 0.45
_LEVEL_VARIANCE = 1.5
_CAPACITY_VARIANCE = 0.1
_WIDTH_VARIANCE = 0.15
_KIND_VARIANCE = 0.05
_KIND_RISE_VARIANCE = 0.02
# Of the remainder, what all kinds have in common.
_KINSHIP = 0.85
# Of the luck, what the files of one training have in common.
_SHARED_LUCK = 0.8
# How much may be seen and still be computed with in no time; of more, those nearest to the floor count.
_MOST_SEEN = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """Where a candidate is in the space, as far as its accuracy depends on it."""

    # Logarithms of widths, depth, ranks: of whatever makes networks differ, more of it further up. As long for all.
    position: tuple[float, ...]
    # Logarithm of the number of weights.
    capacity: float
    # Candidates of one kind have their weights in the same types.
    kind: str
    # Candidates of one training have this in common.
    training: str


class AccuracySurrogate:
    """Foretells accuracies over a fixed set of points.

    Args:
        points: All that will be asked for or were seen; a candidate is its place among them.
    """

    def __init__(self, points: Sequence[Point]) -> None:
        self._positions = _standardised(np.array([point.position for point in points], dtype=np.float64))
        self._capacity = _standardised(np.array([[point.capacity] for point in points], dtype=np.float64))[:, 0]
        width = _standardised(self._positions.sum(axis=1, keepdims=True))[:, 0]
        self._rise = _RISE * (self._capacity + width)
        self._kinds = _numbered([point.kind for point in points])
        self._trainings = _numbered([point.training for point in points])

    def chances(self, seen: Sequence[int], accuracies: Sequence[float], *, floor: float) -> Array:
        """For every point, the probability ``(n,)`` that its accuracy reaches the floor.

        Args:
            seen: The points that were trained, by their places.
            accuracies: What came of them, in the same order.
            floor: What must be reached.
        """
        above = np.asarray(accuracies, dtype=np.float64) - floor
        where = np.asarray(seen, dtype=np.intp)
        if len(where) > _MOST_SEEN:
            nearest = np.argsort(np.abs(above), kind="stable")[:_MOST_SEEN]
            above, where = above[nearest], where[nearest]
        # Covariances between what was seen and all, but for the remainder; and of each point with itself.
        same_kind = (self._kinds[where, None] == self._kinds[None, :]).astype(np.float64)
        slopes = _CAPACITY_VARIANCE + _KIND_RISE_VARIANCE * same_kind
        products = self._positions[where] @ self._positions.T
        trend = _LEVEL_VARIANCE + _KIND_VARIANCE * same_kind + _WIDTH_VARIANCE * products
        trend += slopes * self._capacity[where, None] * self._capacity[None, :]
        squares = (self._positions**2).sum(axis=1)
        own = _LEVEL_VARIANCE + _KIND_VARIANCE + _WIDTH_VARIANCE * squares
        own += (_CAPACITY_VARIANCE + _KIND_RISE_VARIANCE) * self._capacity**2
        distances = np.maximum(squares[where, None] + squares[None, :] - 2 * products, 0) / self._positions.shape[1]
        kinship = _KINSHIP + (1 - _KINSHIP) * same_kind
        same_training = (self._trainings[where, None] == self._trainings[None, :]).astype(np.float64)
        same = where[:, None] == np.arange(len(self._rise))[None, :]
        fortune = _SHARED_LUCK * same_training + (1 - _SHARED_LUCK) * same
        evidence, chances = [], []
        for remainder, length, luck in itertools.product(_REMAINDERS, _LENGTHS, _LUCKS):
            cross = trend + remainder * kinship * np.exp(-distances / (2 * length**2)) + luck * fortune
            for logarithm, chance in self._under(cross, own + remainder + luck, where, above):
                evidence.append(logarithm)
                chances.append(chance)
        weights = np.exp(np.array(evidence) - max(evidence))
        found: Array = (weights / weights.sum()) @ np.array(chances)
        return found

    def _under(self, cross: Array, own: Array, where: npt.NDArray[np.intp], above: Array) -> list[tuple[float, Array]]:
        """Logarithm of the evidence, and the chances, for each spread: covariances are multiples of those given."""
        factor = np.linalg.cholesky(cross[:, where] + 1e-9 * np.eye(len(where)))
        reduced = np.linalg.solve(factor, np.column_stack([above, self._rise[where], cross]))
        data, trend, cross = reduced[:, 0], reduced[:, 1], reduced[:, 2:]
        deviation = np.sqrt(np.maximum(own - (cross**2).sum(axis=0), 1e-9))
        determinant = np.log(np.diag(factor)).sum()
        found = []
        for spread in _SPREADS:
            residual = data - spread * trend
            mean = spread * self._rise + cross.T @ residual
            misfit = float(residual @ residual) / spread**2
            logarithm = -0.5 * misfit - determinant - len(where) * math.log(spread)
            found.append((logarithm, _normal(mean / (spread * deviation))))
        return found


def _standardised(columns: Array) -> Array:
    """Each column with mean 0 and standard deviation 1; a column of equals becomes 0."""
    centred = columns - columns.mean(axis=0, keepdims=True)
    deviation = centred.std(axis=0, keepdims=True)
    return np.where(deviation > 1e-12, centred / np.where(deviation > 1e-12, deviation, 1.0), 0.0)


def _numbered(names: Sequence[str]) -> npt.NDArray[np.intp]:
    """A number for each name, equal for equal names."""
    return np.unique(np.array(names), return_inverse=True)[1]


def _normal(values: Array) -> Array:
    """The cumulative distribution of the standard normal; to 1e-7, by its approximation in elementary functions.

    Source: M. Abramowitz and I. A. Stegun, "Handbook of Mathematical Functions", 1964, 26.2.17.
    """
    size = np.abs(values)
    t = 1 / (1 + 0.2316419 * size)
    polynomial = t * (0.319381530 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))))
    tail = np.exp(-(size**2) / 2) / math.sqrt(2 * math.pi) * polynomial
    found: Array = np.where(values >= 0, 1 - tail, tail)
    return found

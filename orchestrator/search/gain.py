"""What a training is worth: the size that it is expected to save. Pure; where the choice of candidates is decided.

A training yields files of one structure, one for each kind of weights, and is paid for once. Each file that is smaller
than the best one so far saves the logarithm of the ratio if its accuracy holds. Files of one training hold or fail
together more often than not, so that a larger one adds only what its chance exceeds that of the smaller ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

# A training that is expected to save less than this share of the size, or that has less than this chance to save any,
# is not worth it once a feasible candidate is known.
LEAST_GAIN = 0.001
LEAST_CHANCE = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Prospect:
    """A file that a training would yield."""

    training: str
    size_bytes: int
    # Probability that it holds every budget.
    chance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """What is expected of one training."""

    # Logarithm of the ratio of sizes, by expectation.
    saving: float
    # Probability that any size is saved.
    chance: float

    @property
    def worthwhile(self) -> bool:
        """Whether the training should be paid for, where something feasible is known already."""
        return self.saving >= LEAST_GAIN and self.chance >= LEAST_CHANCE


def expected_gains(prospects: Sequence[Prospect], *, reference_bytes: float) -> dict[str, Gain]:
    """The gain of each training over a file of the reference's size; trainings that cannot save any are left out."""
    saved: dict[str, float] = {}
    chances: dict[str, float] = {}
    for prospect in sorted(prospects, key=lambda prospect: prospect.size_bytes):
        if prospect.size_bytes >= reference_bytes:
            continue
        known = chances.get(prospect.training, 0.0)
        added = max(0.0, prospect.chance - known)
        saving = math.log(reference_bytes / max(1, prospect.size_bytes))
        saved[prospect.training] = saved.get(prospect.training, 0.0) + saving * added
        chances[prospect.training] = known + added
    return {training: Gain(saving=saved[training], chance=chances[training]) for training in saved}

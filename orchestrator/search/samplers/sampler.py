"""A sampler: decides which candidates a search looks at next, from everything that is known of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum


class Effort(IntEnum):
    """What a candidate needs next, in the order of what it costs; a candidate that is OVER needs nothing."""

    BUILD = 1
    MEASURE = 2
    TRAIN = 3
    CONFIRM = 4
    OVER = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What a sampler may know of one trial."""

    id: str
    # 0 is the baseline.
    number: int
    effort: Effort
    # Somebody works on it now.
    running: bool
    # Known once it was built; exact from then on, but for what training changes.
    size_bytes: int | None
    # Weights that are left, whatever their type; known once it was built.
    parameters: int | None
    # Known once it was trained.
    accuracy: float | None
    # Where it is in the space: logarithms of widths or of what stands for them, the same quantities for all candidates.
    position: tuple[float, ...] = ()
    # Equal for candidates whose weights have the same types.
    kind: str = ""
    # Equal for candidates that one training yields; empty: it has its own.
    training: str = ""

    @property
    def training_key(self) -> str:
        """Names the training that the candidate needs."""
        return self.training or self.id


@dataclass(frozen=True, slots=True, kw_only=True)
class Knowledge:
    """Everything that is known of a search when the next candidates are chosen."""

    candidates: Sequence[Candidate]
    # The size that the next winner must stay below; None as long as nothing is feasible.
    best_size_bytes: int | None
    # What accuracy must reach; None: it does not matter, or is not known yet.
    accuracy_floor: float | None
    # How many trainings run at the same time.
    slots: int
    seed: int


class Sampler(ABC):
    """A way to go through candidates. It keeps nothing between calls, so that a search goes on after a crash.

    A new sampler subclasses this in a file of its own and is named in the table of ``samplers.registry``, or in the
    entry-point group ``fleetfit.samplers`` of another package.
    """

    @abstractmethod
    def wanted(self, knowledge: Knowledge) -> tuple[str, ...]:
        """Ids of the candidates to work on, the most wanted first: equal for equal knowledge.

        Only candidates that are not over may be named, each once. One that is left out is not worked on now; if none is
        named and none is running, the search is over. The baseline is seen to without being named.
        """

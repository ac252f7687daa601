"""Every candidate in an order left to chance: the yardstick that a sampler must beat."""

from __future__ import annotations

import random

from orchestrator.search.samplers.sampler import Effort, Knowledge, Sampler


class Random(Sampler):
    """Goes through the candidates in an order that the seed decides, each to its end before the next one begins."""

    def wanted(self, knowledge: Knowledge) -> tuple[str, ...]:
        """All that are not over, shuffled by the seed."""
        numbers = sorted(candidate.number for candidate in knowledge.candidates)
        random.Random(knowledge.seed).shuffle(numbers)  # noqa: S311 - an order, not a secret
        rank = {number: position for position, number in enumerate(numbers)}
        remaining = [candidate for candidate in knowledge.candidates if candidate.effort is not Effort.OVER]
        return tuple(candidate.id for candidate in sorted(remaining, key=lambda candidate: rank[candidate.number]))

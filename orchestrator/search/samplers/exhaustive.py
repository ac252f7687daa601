"""Every candidate, one after the other: slow, and never wrong. What other samplers are compared with."""

from __future__ import annotations

from orchestrator.search.samplers.sampler import Effort, Knowledge, Sampler


class Exhaustive(Sampler):
    """Goes through the candidates by number, each to its end before the next one begins."""

    def wanted(self, knowledge: Knowledge) -> tuple[str, ...]:
        """All that are not over, by number."""
        remaining = [candidate for candidate in knowledge.candidates if candidate.effort is not Effort.OVER]
        return tuple(candidate.id for candidate in sorted(remaining, key=lambda candidate: candidate.number))

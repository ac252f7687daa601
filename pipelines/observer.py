"""Who watches a run: told of each stage and epoch, and asked between batches whether to go on."""

from __future__ import annotations

from typing import Protocol


class Observer(Protocol):
    """What a run tells while it goes. A method that raises ends the run with that exception, unchanged."""

    def stage(self, text: str) -> None:
        """A new part of the work begins: ``structured_prune 0.5``, ``export``, ``accuracy``."""

    def epoch(self, pass_name: str, epoch: int, epochs: int, loss: float, metric: float) -> None:
        """Epoch ``epoch`` (from 1) of ``epochs`` is over; ``metric`` is the model's on the validation data."""

    def checkpoint(self) -> None:
        """Called between batches: the place to wait while the run is paused, or to raise when it is cancelled."""


class NullObserver:
    """An observer that lets everything pass."""

    def stage(self, text: str) -> None:
        """Says nothing."""

    def epoch(self, pass_name: str, epoch: int, epochs: int, loss: float, metric: float) -> None:
        """Says nothing."""

    def checkpoint(self) -> None:
        """Goes on."""

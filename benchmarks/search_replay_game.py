"""A table of finished measurements, and one search over it: what was asked, what it cost, what it found."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One file of one structure."""

    structure: tuple[int, ...]
    precision: str
    size_bytes: int
    accuracy: float
    latency_ms: float
    train_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two budgets: latency at most, accuracy at least."""

    latency_ms: float
    accuracy: float


@dataclass(frozen=True)
class Table:
    """All lines of a table, in its order."""

    lines: tuple[Line, ...]

    @cached_property
    def structures(self) -> tuple[tuple[int, ...], ...]:
        """Each structure once, in the order of the table."""
        return tuple(dict.fromkeys(line.structure for line in self.lines))

    @cached_property
    def places(self) -> dict[tuple[int, ...], tuple[int, ...]]:
        """Where the lines of each structure are."""
        found: dict[tuple[int, ...], list[int]] = {}
        for place, line in enumerate(self.lines):
            found.setdefault(line.structure, []).append(place)
        return {structure: tuple(places) for structure, places in found.items()}

    def pairs(self, latency_quantiles: Sequence[float], accuracy_quantiles: Sequence[float]) -> list[Pair]:
        """Every combination of the quantiles, taken over all lines."""
        latencies = np.quantile([line.latency_ms for line in self.lines], latency_quantiles)
        accuracies = np.quantile([line.accuracy for line in self.lines], accuracy_quantiles)
        return [
            Pair(latency_ms=float(latency), accuracy=float(accuracy))
            for latency in latencies
            for accuracy in accuracies
        ]


def load_table(path: Path) -> Table:
    """The table in a file of JSON lines.

    Raises:
        OSError: It cannot be read.
        ValueError: A line is not one of a table, or there is none; says which.
    """
    lines = []
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not text.strip():
            continue
        try:
            lines.append(_parsed(json.loads(text)))
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"line {number}: {type(error).__name__}: {error}") from error
    if not lines:
        raise ValueError("there is no line in it")
    if len({len(line.structure) for line in lines}) > 1:
        raise ValueError("all structures of a table have as many numbers")
    if len({(line.structure, line.precision) for line in lines}) < len(lines):
        raise ValueError("a structure and precision is there twice")
    return Table(tuple(lines))


def _parsed(data: dict[str, object]) -> Line:
    line = Line(
        structure=tuple(int(number) for number in data["structure"]),  # type: ignore[attr-defined]
        precision=str(data["precision"]),
        size_bytes=int(data["size_bytes"]),  # type: ignore[call-overload]
        accuracy=float(data["accuracy"]),  # type: ignore[arg-type]
        latency_ms=float(data["latency_ms"]),  # type: ignore[arg-type]
        train_s=float(data["train_s"]),  # type: ignore[arg-type]
    )
    if line.size_bytes <= 0 or not all(math.isfinite(x) for x in (line.accuracy, line.latency_ms, line.train_s)):
        raise ValueError("a size must be above 0, and every figure finite")
    return line


class Game:
    """One search over a table, for one pair of budgets: gives away only what is paid for."""

    def __init__(self, table: Table, pair: Pair) -> None:
        self.table = table
        self.pair = pair
        # By place, in the order in which they were asked for.
        self.latencies_ms: dict[int, float] = {}
        self.accuracies: dict[int, float] = {}
        self.trainings: list[tuple[int, ...]] = []
        self.best_bytes: int | None = None
        feasible = [line.size_bytes for place, line in enumerate(table.lines) if self._holds(place)]
        # The answer, which no method looks at but to know when to stop counting.
        self.optimum_bytes: int | None = min(feasible, default=None)
        # What it took to find the optimum: trainings and measurements; None: it was not found.
        self.to_optimum: tuple[int, int] | None = None

    def measure(self, place: int) -> float:
        """The latency of a line; measured once."""
        self.latencies_ms[place] = self.table.lines[place].latency_ms
        self._look(place)
        return self.latencies_ms[place]

    def train(self, structure: tuple[int, ...]) -> None:
        """Trains a structure, once, and so finds the accuracies of all of its lines."""
        if structure in self.trainings:
            return
        self.trainings.append(structure)
        for place in self.table.places[structure]:
            self.accuracies[place] = self.table.lines[place].accuracy
        for place in self.table.places[structure]:
            self._look(place)

    def fast_enough(self, place: int) -> bool:
        """Whether a measured line holds the budget of latency."""
        return self.latencies_ms[place] <= self.pair.latency_ms

    def _holds(self, place: int) -> bool:
        line = self.table.lines[place]
        return line.latency_ms <= self.pair.latency_ms and line.accuracy >= self.pair.accuracy

    def _look(self, place: int) -> None:
        """Takes a line for the best where all that makes it so is known."""
        if place not in self.latencies_ms or place not in self.accuracies or not self._holds(place):
            return
        size_bytes = self.table.lines[place].size_bytes
        if self.best_bytes is None or size_bytes < self.best_bytes:
            self.best_bytes = size_bytes
            if size_bytes == self.optimum_bytes:
                self.to_optimum = (len(self.trainings), len(self.latencies_ms))

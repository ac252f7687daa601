"""What many games of one method come to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.search_replay_game import Game


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Figures over the games whose pair of budgets some line holds, and apart from them over those that none holds."""

    # One number a game, in the same order. A game without the optimum counts what it paid for in all, and one more.
    to_optimum_trainings: tuple[float, ...]
    to_optimum_measurements: tuple[float, ...]
    own_stop_trainings: tuple[float, ...]
    own_stop_measurements: tuple[float, ...]
    # Size over the optimum's, less one; inf where the game ended without a feasible model.
    own_stop_excess: tuple[float, ...]
    training_fraction: float
    infeasible_trainings: tuple[float, ...]

    def as_json(self) -> dict[str, float | None]:
        """The figures by name; None where there was nothing to take a figure of."""
        excess = np.array(self.own_stop_excess)
        found = excess[np.isfinite(excess)]
        return {
            "to_optimum_trainings_mean": _mean(self.to_optimum_trainings),
            "own_stop_trainings_mean": _mean(self.own_stop_trainings),
            "own_stop_exact_fraction": _mean(excess == 0),
            "own_stop_within_5pct_fraction": _mean(excess <= 0.05),
            "own_stop_excess_mean": _mean(found),
            "no_feasible_fraction": _mean(~np.isfinite(excess)),
            "own_stop_trained_fraction": self.training_fraction,
            "to_optimum_measurements_mean": _mean(self.to_optimum_measurements),
            "own_stop_measurements_mean": _mean(self.own_stop_measurements),
            "infeasible_pairs_trainings_mean": _mean(self.infeasible_trainings),
        }

    def columns(self) -> list[tuple[str, str]]:
        """Heads and cells of one printed line."""
        excess = np.array(self.own_stop_excess)
        found = excess[np.isfinite(excess)]
        return [
            ("trainings to best", _three(self.to_optimum_trainings)),
            ("measurements", _three(self.to_optimum_measurements)),
            ("trainings at stop", _three(self.own_stop_trainings)),
            ("exact", _share(excess == 0)),
            ("within 5 %", _share(excess <= 0.05)),
            ("no feasible model", _share(~np.isfinite(excess))),
            ("excess size in %", _three(tuple(100 * found))),
            ("infeasible pairs", _three(self.infeasible_trainings)),
        ]


def score(games: Sequence[Game]) -> Score:
    """The score of finished games."""
    feasible = [game for game in games if game.optimum_bytes is not None]
    infeasible = [game for game in games if game.optimum_bytes is None]
    structures = len(games[0].table.structures) if games else 1
    stopped = [len(game.trainings) for game in feasible]
    return Score(
        to_optimum_trainings=tuple(
            game.to_optimum[0] if game.to_optimum else len(game.trainings) + 1 for game in feasible
        ),
        to_optimum_measurements=tuple(
            game.to_optimum[1] if game.to_optimum else len(game.latencies_ms) + 1 for game in feasible
        ),
        own_stop_trainings=tuple(stopped),
        own_stop_measurements=tuple(len(game.latencies_ms) for game in feasible),
        own_stop_excess=tuple(_excess(game) for game in feasible),
        training_fraction=float(np.mean(stopped)) / structures if stopped else 0.0,
        infeasible_trainings=tuple(len(game.trainings) for game in infeasible),
    )


def _excess(game: Game) -> float:
    if game.best_bytes is None or game.optimum_bytes is None:
        return float("inf")
    return game.best_bytes / game.optimum_bytes - 1


def _mean(values: Sequence[float] | np.ndarray) -> float | None:
    return round(float(np.mean(values)), 4) if len(values) else None


def _share(values: np.ndarray) -> str:
    return f"{np.mean(values):.1%}" if len(values) else "-"


def _three(values: Sequence[float]) -> str:
    """Mean, median and 90th percentile."""
    if not len(values):
        return "-"
    return f"{np.mean(values):.1f} {np.median(values):.1f} {np.quantile(values, 0.9):.1f}"

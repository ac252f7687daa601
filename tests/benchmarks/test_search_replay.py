import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.search_replay import main
from benchmarks.search_replay_game import Game, Pair, load_table
from benchmarks.search_replay_methods import METHODS

KEYS = {
    "to_optimum_trainings_mean",
    "own_stop_trainings_mean",
    "own_stop_exact_fraction",
    "own_stop_within_5pct_fraction",
    "own_stop_excess_mean",
    "no_feasible_fraction",
}


@pytest.fixture(params=[1, 2, 4])
def table(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A table whose structures have one, two or four numbers."""
    levels = {1: range(2, 18), 2: (2, 4, 8, 16), 4: (2, 8)}[request.param]
    lines: list[dict[str, Any]] = []
    for number, structure in enumerate(itertools.product(levels, repeat=request.param)):
        weights = sum(structure) * 100
        for precision, share in (("fp32", 4), ("int8", 1)):
            lines.append(
                {
                    "structure": structure,
                    "precision": precision,
                    "size_bytes": 500 + weights * share,
                    "accuracy": 0.5 + weights / 100_000 - 0.001 * (precision == "int8") + 0.0007 * (number % 3),
                    "latency_ms": weights / 1000 * (1.2 if precision == "int8" else 1.0),
                    "train_s": 3.0,
                }
            )
    path = tmp_path / "table.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")
    return path


def test_figures_come_as_json_with_a_method_each(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([str(table), "--method", "measure-first", "--method", "random", "--seeds", "2", "--json"])
    figures = json.loads(capsys.readouterr().out)
    assert set(figures) == {"measure-first", "random"}
    assert set(figures["random"]) >= KEYS
    assert figures["random"]["own_stop_exact_fraction"] == 1.0
    assert figures["measure-first"]["no_feasible_fraction"] == 0.0
    assert figures["measure-first"]["to_optimum_trainings_mean"] < figures["random"]["to_optimum_trainings_mean"]


def test_optuna_is_replayed_with_and_without_the_free_filter(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([str(table), "--method", "tpe", "--method", "tpe-filtered", "--seeds", "1", "--json"])
    figures = json.loads(capsys.readouterr().out)
    assert figures["tpe-filtered"]["to_optimum_trainings_mean"] <= figures["tpe"]["to_optimum_trainings_mean"]


def test_a_game_gives_away_only_what_was_paid_for(table: Path) -> None:
    game = Game(load_table(table), Pair(latency_ms=1e9, accuracy=0.0))
    assert game.optimum_bytes == min(line.size_bytes for line in game.table.lines)
    smallest = next(place for place, line in enumerate(game.table.lines) if line.size_bytes == game.optimum_bytes)
    game.train(game.table.lines[smallest].structure)
    assert game.best_bytes is None
    game.measure(smallest)
    assert game.best_bytes == game.optimum_bytes
    assert game.to_optimum == (1, 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no line"),
        ("{}", "line 1: KeyError"),
        ('{"structure": [1], "precision": "a", "size_bytes": 0, "accuracy": 1, "latency_ms": 1, "train_s": 1}', "size"),
    ],
)
def test_a_table_that_is_none_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "table.jsonl"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SystemExit, match=message):
        main([str(path)])


def test_a_device_budget_that_nothing_holds_costs_no_training(table: Path) -> None:
    game = Game(load_table(table), Pair(latency_ms=0.0, accuracy=0.5))
    METHODS["measure-first"](game, 0)
    assert game.trainings == []
    assert game.best_bytes is None

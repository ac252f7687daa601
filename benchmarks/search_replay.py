"""Replays searches over a table of finished measurements: what a strategy costs, without paying for it.

``python -m benchmarks.search_replay benchmarks/tables/plain.jsonl --method measure-first --seeds 20`` prints, for each
method, how many trainings and measurements it needed until the best file was found, how often, and what it had when it
stopped of its own accord. A line of the table is ``{"structure": [ints], "precision": "fp32", "size_bytes": …,
"accuracy": …, "latency_ms": …, "train_s": …}``. A search sees a line's size at once, its latency when it asks the
device, its accuracy when it trains; training is paid for once a structure and yields all of its lines.

The pairs of budgets are quantiles of the table: of latency {.3, .5, .7, .9, 1}, of accuracy {.3, .5, .7, .85}. Pairs
that no line holds are counted apart. ``measure-first`` is the sampler of the product itself. ``tpe`` is Optuna's, told
of each budget as a constraint; ``tpe-filtered`` has what is free for ours too: it pays for nothing that size or latency
rule out. Optuna never stops of its own accord: it is stopped when it has found the best file, which it cannot know, or
after twice as many trials as there are lines.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.search_replay_game import Game, Pair, Table, load_table
from benchmarks.search_replay_methods import METHODS, SEEDLESS
from benchmarks.search_replay_score import Score, score

_LATENCY_QUANTILES = (0.3, 0.5, 0.7, 0.9, 1.0)
_ACCURACY_QUANTILES = (0.3, 0.5, 0.7, 0.85)


def main(arguments: Sequence[str] | None = None) -> None:
    """Replays, and prints a line for each method, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path, metavar="TABLE.jsonl")
    parser.add_argument("--method", action="append", choices=[*METHODS, "all"], help="may be repeated; default: all")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    try:
        table = load_table(options.table)
    except (OSError, ValueError) as error:
        raise SystemExit(f"{options.table}: {error}") from error
    chosen = options.method or ["all"]
    methods = list(METHODS) if "all" in chosen else list(dict.fromkeys(chosen))
    scores = {method: replay(table, method, seeds=options.seeds) for method in methods}
    if options.json:
        print(json.dumps({method: found.as_json() for method, found in scores.items()}, indent=2))
    else:
        _print(table, scores)


def replay(table: Table, method: str, *, seeds: int) -> Score:
    """The score of a method over all pairs of budgets and seeds."""
    games = []
    for pair in table.pairs(_LATENCY_QUANTILES, _ACCURACY_QUANTILES):
        if method in SEEDLESS:
            games += [_played(table, pair, method, 0)] * seeds
        else:
            games += [_played(table, pair, method, seed) for seed in range(seeds)]
    return score(games)


def _played(table: Table, pair: Pair, method: str, seed: int) -> Game:
    game = Game(table, pair)
    METHODS[method](game, seed)
    return game


def _print(table: Table, scores: dict[str, Score]) -> None:
    print(f"{len(table.lines)} lines, {len(table.structures)} structures")
    heads = [name for name, _ in next(iter(scores.values())).columns()]
    width = max(len(method) for method in [*scores, "method"])
    widths = [max(len(head), 18) for head in heads]
    print("  ".join(["method".ljust(width), *(head.rjust(size) for head, size in zip(heads, widths, strict=True))]))
    for method, found in scores.items():
        cells = [text.rjust(size) for (_, text), size in zip(found.columns(), widths, strict=True)]
        print("  ".join([method.ljust(width), *cells]))
    print("Three figures are mean, median, 90th percentile.", file=sys.stderr)


if __name__ == "__main__":
    main()
